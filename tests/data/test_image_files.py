"""Photographs and masks from files: what passes keeps its values, what does not is named with a remedy."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from imagesets import PALETTE
from PIL import Image

from scripts.data.image_files import ImageHeader, image_header, read_image, read_mask
from scripts.errors import InputError

RNG = np.random.default_rng(0)
GREY = RNG.integers(5, 250, (5, 9), dtype=np.uint8)
RGB = RNG.integers(5, 250, (5, 9, 3), dtype=np.uint8)
LABELS = np.array([[0, 1, 2], [20, 255, 3]], np.uint8)


def saved(path: Path, pixels: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def with_alpha(opacity: int) -> np.ndarray:
    alpha = np.full((5, 9, 1), 255, np.uint8)
    alpha[0, 0] = opacity
    return np.concatenate([RGB, alpha], axis=-1)


def deep_rgb(path: Path) -> Path:
    image = SimpleITK.GetImageFromArray(RGB.astype(np.uint16) * 200, isVector=True)
    SimpleITK.WriteImage(image, str(path))
    return path


# Images that pass


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_rgb_comes_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a{suffix}", RGB)
    image = read_image(path, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, RGB.transpose(2, 0, 1))
    assert image_header(path) == ImageHeader(channels=3, bits=8, height=5, width=9)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_grey_comes_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a{suffix}", GREY)
    np.testing.assert_array_equal(read_image(path, 1), GREY[np.newaxis])
    assert image_header(path) == ImageHeader(channels=1, bits=8, height=5, width=9)


def test_a_jpeg_is_read(tmp_path: Path) -> None:
    flat = np.full((16, 24, 3), (200, 100, 50), np.uint8)
    image = read_image(saved(tmp_path / "a.JPG", flat), 3)
    assert image.shape == (3, 16, 24)
    np.testing.assert_allclose(image, flat.transpose(2, 0, 1), atol=3)


def test_a_palette_photograph_becomes_rgb(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    image = Image.fromarray(np.array([[0, 1], [15, 2]], np.uint8))
    image.putpalette(PALETTE)
    image.save(path)
    assert image_header(path).channels == 3
    np.testing.assert_array_equal(
        read_image(path, 3)[:, 0],
        np.array([[0, 128], [0, 0], [0, 0]], np.uint8),
        err_msg="classes 0 and 1 of VOC's colours",
    )


def test_an_opaque_alpha_channel_is_dropped(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", with_alpha(255))
    np.testing.assert_array_equal(read_image(path, 3), RGB.transpose(2, 0, 1))
    assert image_header(path).channels == 3


def test_colour_becomes_luminance_in_a_grey_set(tmp_path: Path) -> None:
    expected = RGB @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(read_image(saved(tmp_path / "a.png", RGB), 1)[0], expected, atol=1)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_is_stretched_to_its_own_extent(tmp_path: Path, suffix: str) -> None:
    values = np.array([[1000, 1500], [2000, 3000]], np.uint16)
    path = saved(tmp_path / f"a{suffix}", values)
    assert image_header(path).bits == 16
    np.testing.assert_array_equal(read_image(path, 1)[0], [[0, 64], [128, 255]])


def test_thirty_two_bit_grey_is_stretched_and_a_constant_one_is_black(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", np.array([[-100, 0], [100, 410]], np.int32))
    np.testing.assert_array_equal(read_image(path, 1)[0], [[0, 50], [100, 255]])
    assert not read_image(saved(tmp_path / "b.tif", np.full((2, 2), 7, np.int32)), 1).any()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_the_cameras_orientation_is_applied(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x112] = 6  # the camera was turned: the file's first column is the top
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, :8] = 240
    path = saved(tmp_path / f"a{suffix}", wide, exif=exif)
    image = read_image(path, 3)
    header = image_header(path)
    assert image.shape == (3, 24, 8) == (3, header.height, header.width)
    assert image[:, :6].min() > 200
    assert image[:, 10:].max() < 40


def test_unicode_and_spaces_in_paths(tmp_path: Path) -> None:
    folder = tmp_path / "Bilder aus Zürich 画像"
    folder.mkdir()
    np.testing.assert_array_equal(read_image(saved(folder / "á b.png", GREY), 1)[0], GREY)


# Images that do not


@pytest.mark.parametrize(
    ("pixels", "name", "message"),
    [
        (GREY, "grey.png", r"grey\.png is grey, expected RGB.*convert it to RGB, or give --image_channels 1"),
        (
            GREY.astype(np.uint16) * 200,
            "deep.png",
            r"deep\.png is 16-bit grey, expected 8 bits.*convert it to 8-bit RGB",
        ),
        (GREY.astype(np.uint16) * 200, "deep.tif", r"deep\.tif is 16-bit grey, expected 8 bits"),
        (with_alpha(254), "alpha.png", r"alpha\.png is transparent in places \(smallest opacity 254.*Flatten it"),
        (GREY.astype(np.float32), "float.tif", r"float\.tif has the pixel format F .*convert it"),
    ],
    ids=["grey", "16-bit grey PNG", "16-bit grey TIFF", "RGBA", "float"],
)
def test_what_does_not_fit_an_rgb_set(tmp_path: Path, pixels: np.ndarray, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_image(saved(tmp_path / name, pixels), 3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_rgb_is_refused(tmp_path: Path, suffix: str, channels: int) -> None:
    path = deep_rgb(tmp_path / f"deep{suffix}")
    assert image_header(path) == ImageHeader(channels=3, bits=16, height=5, width=9)
    with pytest.raises(InputError, match="is 16-bit RGB, expected 8 bits a channel"):
        read_image(path, channels)


def test_a_transparent_palette_colour_is_refused(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "a.png", RGB, mode="P", transparency=int(np.asarray(Image.fromarray(RGB).convert("P"))[0, 0])
    )
    with pytest.raises(InputError, match="is transparent in places"):
        read_image(path, 3)


def test_cmyk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pixel format CMYK .*convert it to 8-bit RGB"):
        image_header(saved(tmp_path / "a.jpg", RGB, mode="CMYK"))


def test_a_stack_of_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(GREY).save(path, save_all=True, append_images=[Image.fromarray(GREY)] * 2)
    for read in (image_header, read_mask, lambda file: read_image(file, 1)):
        with pytest.raises(InputError, match="holds 3 pictures, expected one"):
            read(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"cut{suffix}", RNG.integers(0, 255, (60, 60, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=rf"cut\{suffix} cannot be read as an image: .*copy or export it again"):
        read_image(path, 3)


@pytest.mark.parametrize("content", [b"", b"not an image", b"GIF89a"], ids=["empty", "text", "another format"])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in (image_header, read_mask, lambda file: read_image(file, 3)):
        with pytest.raises(InputError, match=r"a\.png cannot be read as an image: its content is of no known format"):
            read(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for read in (image_header, read_mask, lambda file: read_image(file, 3)):
        with pytest.raises(InputError, match=r"absent\.png is not there: check dataset_dir"):
            read(tmp_path / "absent.png")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as an image"):
        image_header(tmp_path)


@pytest.mark.parametrize("channels", [0, 2, 4, "3"])
def test_channels_are_one_or_three(tmp_path: Path, channels: int) -> None:
    with pytest.raises(InputError, match=r"1 \(grey\) or 3 \(RGB\)"):
        read_image(saved(tmp_path / "a.png", RGB), channels)


# Masks


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("palette", [True, False])
def test_a_mask_is_read_as_indices(tmp_path: Path, suffix: str, palette: bool) -> None:
    image = Image.fromarray(LABELS)
    if palette:
        image.putpalette(PALETTE)
    image.save(tmp_path / f"a{suffix}")
    mask = read_mask(tmp_path / f"a{suffix}")
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, LABELS)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_a_mask_of_more_bits_passes_if_its_values_do(tmp_path: Path, dtype: type) -> None:
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "a.tif", LABELS.astype(dtype))), LABELS)


@pytest.mark.parametrize(("dtype", "value"), [(np.uint16, 256), (np.int32, -1), (np.int32, 26001)])
def test_a_mask_of_larger_values_is_refused(tmp_path: Path, dtype: type, value: int) -> None:
    with pytest.raises(InputError, match=rf"holds values from .*{value}.*expected class indices"):
        read_mask(saved(tmp_path / "a.tif", np.array([[0, value]], dtype)))


def test_a_one_bit_mask_is_zero_and_one(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "a.png", LABELS > 1)), LABELS > 1)


@pytest.mark.parametrize("mode", ["L", "P"])
@pytest.mark.parametrize("bits", [2, 4])
def test_a_mask_of_few_bits_keeps_its_values(tmp_path: Path, bits: int, mode: str) -> None:
    labels = np.array([[0, 1, 2, 3]], np.uint8)
    image = Image.fromarray(labels)
    if mode == "P":
        image.putpalette(PALETTE[: 3 * 2**bits])
    image.save(tmp_path / "a.png", bits=bits)
    assert image_header(tmp_path / "a.png").bits == bits
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), labels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_palette_mask_saved_as_rgb_is_refused(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(LABELS)
    image.putpalette(PALETTE)
    image.convert(mode).save(tmp_path / "a.png")
    with pytest.raises(
        InputError, match=r"holds colours \(mode RGBA?\), not class indices.*palette PNG was opened and saved as RGB"
    ):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.jpg", "a.png"], ids=["by its name", "under a PNG's name"])
def test_a_jpeg_mask_is_refused(tmp_path: Path, name: str) -> None:
    saved(tmp_path / name, LABELS, format="JPEG")
    with pytest.raises(InputError, match="is a JPEG, whose compression alters label values"):
        read_mask(tmp_path / name)


def test_a_mask_of_fractions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds fractions"):
        read_mask(saved(tmp_path / "a.tif", LABELS.astype(np.float32)))


def test_real_files(real_data: Path) -> None:
    root = real_data / "voc" / "VOCdevkit" / "VOC2012"
    path = root / "SegmentationClass" / "2007_000904.png"
    mask = read_mask(path)
    assert set(np.unique(mask)) <= {*range(21), 255}
    assert 255 in mask
    image = read_image(root / "JPEGImages" / "2007_000904.jpg", 3)
    assert image.shape == (3, *mask.shape)
    header = image_header(root / "JPEGImages" / "2007_000904.jpg")
    assert (header.channels, header.bits, header.height, header.width) == (3, 8, *mask.shape)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_photograph_that_viewers_turn_is_refused_beside_a_mask(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "turned.jpg"
    Image.fromarray(RGB).save(path, exif=exif)
    read_image(path, 3)
    with pytest.raises(InputError, match=f"has a mask and the EXIF orientation {orientation}"):
        read_image(path, 3, with_mask=True)
