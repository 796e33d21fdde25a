"""Photographs on the networks' size: how they are resized, what stays in 8 bits, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from imagesets import colored, shapes, write_image, write_mask
from PIL import Image

from scripts.data.image_grid import ImageGrid, ImagePreprocessing, grid_for, resize_image, resize_mask
from scripts.data.preprocessing import SliceGrid
from scripts.errors import InputError

SIZES = [(17, 23), (10, 12), (80, 96), (30, 60), (64, 20), (40, 48), (13, 96)]
"""Of a result: smaller, much smaller, larger, stretched either way, as it is, smaller one way and larger the other."""


@pytest.fixture
def mask() -> np.ndarray:
    return shapes((40, 48), (1, 2, 7, 255), np.random.default_rng(0))


@pytest.fixture
def image(mask: np.ndarray) -> np.ndarray:
    """(40, 48, 3), with texture."""
    return colored(mask, np.random.default_rng(1))


def tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) to (3, H, W)."""
    return torch.from_numpy(image).movedim(-1, 0).contiguous()


# Interpolation


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_resized_as_by_pillow(image: np.ndarray, size: tuple[int, int], channels: int) -> None:
    """Pillow's bilinear filter widens as an image shrinks, which is anti-aliasing."""
    image = image[..., :channels]
    resized = resize_image(tensor(image), size)
    pillow = Image.fromarray(image if channels == 3 else image[..., 0]).resize(size[::-1], Image.Resampling.BILINEAR)
    expected = np.atleast_3d(np.asarray(pillow)).transpose(2, 0, 1).astype(int)
    assert resized.dtype == torch.uint8
    assert resized.shape == (channels, *size)
    assert np.abs(resized.numpy().astype(int) - expected).max() <= 1


def test_a_shrunk_image_shows_no_moire() -> None:
    """Stripes of two pixels become grey; without anti-aliasing one of the two colours would be picked."""
    stripes = torch.zeros(1, 64, 64, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    inner = resize_image(stripes, (16, 16))[:, :, 1:-1].int()
    assert (inner - 128).abs().max() <= 20


@pytest.mark.parametrize("size", SIZES)
def test_masks_take_the_nearest_pixel(mask: np.ndarray, size: tuple[int, int]) -> None:
    resized = resize_mask(torch.from_numpy(mask).unsqueeze(0), size)
    rows, columns = (
        np.floor((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, mask.shape, strict=True)
    )
    assert resized.dtype == torch.uint8
    np.testing.assert_array_equal(resized[0].numpy(), mask[np.ix_(rows, columns)])
    assert set(resized.unique().tolist()) <= set(np.unique(mask).tolist())


@pytest.mark.parametrize("size", [(20, 24), (80, 96), (100, 30)])
def test_image_and_mask_stay_on_one_another(size: tuple[int, int]) -> None:
    """The middle of an object is at one place in both, to a third of a pixel."""
    mask = shapes((40, 48), (1,), np.random.default_rng(3))
    small_image = resize_image(torch.from_numpy(mask * 200).unsqueeze(0), size)[0].double()
    small_mask = resize_mask(torch.from_numpy(mask).unsqueeze(0), size)[0].double()
    rows, columns = torch.meshgrid(*(torch.arange(n).double() for n in size), indexing="ij")
    for places in (rows, columns):
        middles = [float((places * weight).sum() / weight.sum()) for weight in (small_image, small_mask)]
        assert middles[0] == pytest.approx(middles[1], abs=1 / 3)


def test_what_has_the_size_is_left_alone(image: np.ndarray, mask: np.ndarray) -> None:
    pixels, labels = tensor(image), torch.from_numpy(mask).unsqueeze(0)
    assert resize_image(pixels, [40, 48]) is pixels
    assert resize_mask(labels, [40, 48]) is labels


# From files


@pytest.fixture
def item(tmp_path: Path, image: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    paths = write_image(tmp_path / "a b.png", image), write_mask(tmp_path / "a b gt.png", mask, palette=True)
    return {"image": str(paths[0]), "label": str(paths[1]), "patient": "someone"}


def test_files_become_tensors_of_eight_bits(item: dict, image: np.ndarray, mask: np.ndarray) -> None:
    done = ImageGrid((20, 24), 3).preprocessing(("image", "label"), num_classes=8)(item)
    assert done.keys() == {"image", "label", "patient"}
    assert done["patient"] == "someone"
    assert {key: (done[key].dtype, tuple(done[key].shape)) for key in ("image", "label")} == {
        "image": (torch.uint8, (3, 20, 24)),
        "label": (torch.uint8, (1, 20, 24)),
    }
    assert torch.equal(done["image"], resize_image(tensor(image), (20, 24)))
    assert torch.equal(done["label"], resize_mask(torch.from_numpy(mask).unsqueeze(0), (20, 24)))


def test_read_keeps_the_size_of_the_files(item: dict, image: np.ndarray, mask: np.ndarray) -> None:
    read = ImageGrid((20, 24), 3).preprocessing(("image", "label"), num_classes=8).read(item)
    np.testing.assert_array_equal(read["image"].numpy(), image.transpose(2, 0, 1))
    np.testing.assert_array_equal(read["label"].numpy(), mask[np.newaxis])


def test_a_grey_set_takes_colour_as_luminance(item: dict) -> None:
    read = ImageGrid((20, 24), 1).preprocessing(("image",)).read(item)
    assert read["image"].shape == (1, 40, 48)
    np.testing.assert_array_equal(read["image"][0].numpy(), np.asarray(Image.open(item["image"]).convert("L")))


@pytest.mark.parametrize("keys", [("image",), ("image", "label")])
def test_an_item_without_label_passes(item: dict, keys: tuple[str, ...]) -> None:
    del item["label"]
    done = ImageGrid((20, 24)).preprocessing(keys)(item)
    assert "label" not in done
    assert done["image"].shape == (3, 20, 24)


def test_a_label_that_is_not_asked_for_is_not_opened(item: dict) -> None:
    Path(item["label"]).write_bytes(b"no mask")
    assert ImageGrid((20, 24)).preprocessing(("image",))(item)["label"] == item["label"]


def test_values_are_mapped_before_the_mask_is_resized(item: dict) -> None:
    preprocessing = ImageGrid((40, 48)).preprocessing(("image", "label"), 2, label_map={"0": 0, "7": 1})
    label = preprocessing(item)["label"][0].numpy()
    values = np.asarray(Image.open(item["label"]))
    np.testing.assert_array_equal(label, np.where(values == 0, 0, np.where(values == 7, 1, 255)))


# What is refused


@pytest.mark.parametrize("shape", [(48, 40), (40, 47), (20, 24)], ids=["turned", "a pixel less", "half"])
def test_a_mask_of_another_size_is_refused(item: dict, shape: tuple[int, int]) -> None:
    write_mask(Path(item["label"]), np.zeros(shape))
    with pytest.raises(InputError) as raised:
        ImageGrid((20, 24)).preprocessing(("image", "label"))(item)
    came = f"{item['label']} is {shape[0]} x {shape[1]} pixels, its image {item['image']} 40 x 48 pixels"
    assert str(raised.value) == f"{came}: a mask must have its image's size; export one of the two again."


@pytest.mark.parametrize("value", [0, 90, 255])
def test_a_constant_image_is_refused(item: dict, value: int) -> None:
    write_image(Path(item["image"]), np.full((40, 48, 3), value, np.uint8))
    with pytest.raises(InputError, match=rf"a b\.png is constant \({value} everywhere\): .*take it out"):
        ImageGrid((20, 24)).preprocessing(("image", "label"), 8)(item)


def test_an_image_of_one_flat_colour_channel_passes(item: dict, image: np.ndarray) -> None:
    image[..., 2] = 0
    write_image(Path(item["image"]), image)
    assert ImageGrid((20, 24)).preprocessing()(item)["image"][2].max() == 0


def test_a_value_that_is_no_class_is_refused(item: dict) -> None:
    with pytest.raises(InputError, match=r"a b gt\.png has the label values 7, expected 0 to 6 or 255 \(void\)"):
        ImageGrid((20, 24)).preprocessing(("image", "label"), 7)(item)


@pytest.mark.parametrize("size", [(32,), (32, 32, 32), (32, 0), (-8, 32), (32, 32.5), ("32", "32"), 32, None])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(InputError, match=r"size of images must be two positive whole numbers \(pixels\), got"):
        ImageGrid(size)


@pytest.mark.parametrize("channels", [0, 2, 4, "3", None])
def test_channels_are_one_or_three(channels: Any) -> None:
    with pytest.raises(InputError, match=r"1 \(grey\) or 3 \(RGB\) channels, got image_channels"):
        ImageGrid((32, 32), channels)


# The grid


def test_a_grid_from_json_equals_one_from_code() -> None:
    """A size from a config or model card is a list; grids are told apart and hashed by what they say."""
    assert ImageGrid([32, 64]) == ImageGrid((32, 64), 3)
    assert hash(ImageGrid([32, 64])) == hash(ImageGrid((32, 64)))
    assert repr(ImageGrid([32, 64], 1)) != repr(ImageGrid([32, 64], 3)), "the cache of slices is known by it"


@pytest.mark.parametrize(
    ("spacing", "channels", "expected", "x_first"),
    [
        (None, 3, ImageGrid((32, 48), 3), False),
        (None, 1, ImageGrid((32, 48), 1), False),
        ([2, 3], 1, SliceGrid((2, 3), (32, 48)), True),
    ],
)
def test_the_spacing_tells_volumes_from_photographs(
    spacing: Any, channels: int, expected: ImageGrid | SliceGrid, x_first: bool
) -> None:
    grid = grid_for(spacing, [32, 48], channels)
    assert grid == expected
    assert grid.x_first is x_first


def test_volumes_of_colour_are_refused() -> None:
    with pytest.raises(InputError, match="volumes have one channel here, got image_channels = 3"):
        grid_for([1.5, 1.5], [32, 32], 3)


def test_preprocessing_knows_its_settings() -> None:
    preprocessing = ImageGrid((32, 48)).preprocessing(("image", "label"), 19, {"7": 0})
    assert isinstance(preprocessing, ImagePreprocessing)
    assert (preprocessing.num_classes, preprocessing.label_map) == (19, {"7": 0})
