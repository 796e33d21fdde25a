"""From files to the networks' grid and back: orientation, position, intensities, and everything that is refused."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from scripts.data.acdc import Patient, find_patients
from scripts.data.preprocessing import SliceGrid, ToNativeGrid, normalize_slices, shift_to_zero
from scripts.errors import InputError, input_error_in

WriteVolume = Callable[..., Path]
RNG = np.random.default_rng(0)


def affine_of(rotation: np.ndarray, spacing: tuple[float, float, float] = (1.5, 1.5, 8.0)) -> np.ndarray:
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    affine[:3, :3] = rotation * np.asarray(spacing)
    affine[:3, 3] = (-70.0, 35.0, 12.0)
    return affine


def oblique() -> np.ndarray:
    """A short-axis orientation: no axis along the scanner's."""
    q, _ = np.linalg.qr(np.array([[0.7, 0.4, 0.5], [-0.2, 0.9, 0.3], [-0.6, -0.3, 0.8]]))
    return q


# Orientation and position


@pytest.mark.parametrize(
    "rotation",
    [np.eye(3), np.diag([-1.0, -1, 1]), np.diag([1.0, -1, -1]), np.eye(3)[[1, 0, 2]], np.eye(3)[[2, 0, 1]], oblique()],
    ids=["RAS", "LPS", "flipped slices", "axes swapped", "sagittal", "oblique"],
)
def test_slices_stay_as_acquired_whatever_the_affine_says(write_volume: WriteVolume, rotation: np.ndarray) -> None:
    """Bright in one corner and darker slice by slice: no flip, transpose or reordering goes unseen."""
    image = RNG.uniform(0, 0.1, (30, 24, 4)) + np.linspace(0, 1, 30)[:, None, None] + np.linspace(0, 3, 24)[:, None]
    label = np.zeros(image.shape, np.uint8)
    label[2:9, 15:22, 1] = 2
    grid = SliceGrid((2.0, 2.0), (20, 20)).preprocessing(("image", "label"))
    plain, turned = (
        grid({"image": str(write_volume(f"{n}.nii.gz", image, affine=a)),
              "label": str(write_volume(f"{n}_gt.nii.gz", label, affine=a))})
        for n, a in (("plain", affine_of(np.eye(3))), ("turned", affine_of(rotation)))
    )  # fmt: skip
    # Where sampling starts within the first pixel depends on rounding errors of the affine.
    torch.testing.assert_close(turned["image"].as_tensor(), plain["image"].as_tensor(), atol=0.02, rtol=0)
    assert (turned["label"] != plain["label"]).sum() <= 8
    slices = plain["image"].as_tensor()[0]
    assert slices[-5:, -5:].mean() > slices[-5:, :5].mean() > slices[:5, :5].mean()
    where = plain["label"].as_tensor()[0].nonzero().float().mean(0)
    assert where[2] == 1
    assert where[0] < 9 < 11 < where[1]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 8.0), (1.37, 1.52, 10.0), (3.1, 2.9, 5.0)], ids=str)
@pytest.mark.parametrize("shape", [(41, 56, 3), (60, 47, 2)], ids=str)
@pytest.mark.parametrize("size", [(40, 36), (31, 33)], ids=str)
def test_a_pixel_lies_where_the_affine_puts_it(
    write_volume: WriteVolume, spacing: tuple, shape: tuple, size: tuple
) -> None:
    """An image of its own world coordinate stays so, as linear interpolation is exact on it; and the centre stays."""
    affine = affine_of(np.diag([-1.0, 1, 1]), spacing)
    world = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) @ affine[:3, :3].T + affine[:3, 3]
    for axis in (0, 1):
        path = write_volume(f"{axis}.nii.gz", world[..., axis].astype(np.float32), affine=affine)
        transform = SliceGrid((2.0, 2.0), size).preprocessing(("image",))
        transform.transforms = [t for t in transform.transforms if normalize_slices not in getattr(t, "func", ())]
        image = transform({"image": str(path)})["image"]
        assert image.shape == (1, *size, shape[2])
        indices = np.stack(np.meshgrid(*map(np.arange, image.shape[1:]), indexing="ij"), -1)
        expected = indices @ image.affine.numpy()[:3, :3].T + image.affine.numpy()[:3, 3]
        got = image.numpy()[0] + world[..., axis].min()  # which shift_to_zero took away
        inside = got > world[..., axis].min() + 2.0  # off the padding and the half pixel at the image's border
        inside &= got < world[..., axis].max() - 2.0
        assert inside.mean() > 0.3
        np.testing.assert_allclose(got[inside], expected[..., axis][inside], atol=1e-3)
        centre_there = affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]
        centre_here = image.affine.numpy()[:3, :3] @ ((np.array(image.shape[1:]) - 1) / 2) + image.affine.numpy()[:3, 3]
        assert np.abs(centre_here - centre_there).max() <= 2.0


@pytest.mark.parametrize("size", [(96, 96), (95, 97)], ids=str)
@pytest.mark.parametrize("grid_spacing", [1.5, 3.0])
@pytest.mark.parametrize("spacing", [0.9, 1.5, 1.83])
def test_there_and_back_keeps_a_shape_in_its_place(
    write_volume: WriteVolume, spacing: float, grid_spacing: float, size: tuple[int, int]
) -> None:
    """A label taken for a perfect prediction comes back on the acquired grid, to a fraction of a pixel."""
    shape = (101, 84, 3)
    x, y = np.meshgrid(np.arange(shape[0]) - 57.3, np.arange(shape[1]) - 35.8, indexing="ij")
    disc = ((x / 22) ** 2 + (y / 16) ** 2 < 1).astype(np.uint8)
    label = np.stack([disc, 2 * disc, 3 * disc], -1)
    files = {
        "image": str(write_volume("image.nii.gz", RNG.random(shape), (spacing, spacing, 8.0))),
        "label": str(write_volume("label.nii.gz", label, (spacing, spacing, 8.0))),
    }
    data = SliceGrid((grid_spacing, grid_spacing), size).preprocessing(("image", "label"))(files)
    probabilities = torch.nn.functional.one_hot(data["label"].as_tensor()[0].long(), 4).movedim(-1, 0).float()
    affine = torch.as_tensor(nib.load(files["image"]).affine)
    back = ToNativeGrid()(probabilities, data["image"], affine, shape)
    assert back.shape == (4, *shape)
    labels = back.argmax(0).numpy()
    for z in range(3):
        truth, found = label[..., z] > 0, labels[..., z] == z + 1
        assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.95
        shift = (np.argwhere(truth).mean(0) - np.argwhere(found).mean(0)) * spacing / grid_spacing
        assert np.abs(shift).max() < 0.15
        assert set(np.unique(labels[..., z])) == {0, z + 1}


def test_beyond_the_field_of_view_is_background(write_volume: WriteVolume) -> None:
    path = write_volume("image.nii.gz", RNG.random((40, 40, 2)))
    image = SliceGrid((1.5, 1.5), (20, 20)).preprocessing(("image",))({"image": str(path)})["image"]
    everything_is_class_1 = torch.zeros(2, 20, 20, 2).index_fill(0, torch.tensor(1), 1.0)
    labels = ToNativeGrid()(everything_is_class_1, image, torch.as_tensor(nib.load(path).affine), (40, 40, 2)).argmax(0)
    assert (labels[10:30, 10:30] == 1).all()
    labels[9:31, 9:31] = 0  # the border fades within a pixel
    assert not labels.any()


def test_padding_is_the_darkest_of_the_volume_and_background(write_volume: WriteVolume) -> None:
    image, label = RNG.uniform(100, 200, (16, 16, 2)), np.full((16, 16, 2), 3, np.uint8)
    data = SliceGrid((1.5, 1.5), (24, 24)).preprocessing(("image", "label"))(
        {"image": str(write_volume("i.nii.gz", image)), "label": str(write_volume("l.nii.gz", label))}
    )
    volume, mask = data["image"].as_tensor()[0], data["label"].as_tensor()[0]
    assert (mask[4:20, 4:20] == 3).all()
    assert mask.sum() == 3 * 16 * 16 * 2
    for z in range(2):
        assert (volume[:4, :, z] == volume[..., z].min()).all()


def test_void_survives(write_volume: WriteVolume) -> None:
    label = RNG.integers(0, 4, (24, 24, 2)).astype(np.uint8)
    label[5:9, 6:12] = 255
    image = write_volume("i.nii.gz", RNG.random((24, 24, 2)))
    data = SliceGrid((1.5, 1.5), (24, 24)).preprocessing(("image", "label"))(
        {"image": str(image), "label": str(write_volume("l.nii.gz", label))}
    )
    assert data["label"].dtype == torch.uint8
    np.testing.assert_array_equal(data["label"].numpy()[0], label)


# Intensities


@pytest.mark.parametrize("shape", [(1, 6, 7, 3), (2, 6, 7, 3), (3, 6, 7)], ids=str)
def test_each_channel_of_each_slice_is_normalised_by_the_papers_formula(shape: tuple[int, ...]) -> None:
    image = RNG.normal(50, 20, shape).astype(np.float32)
    flat = image.reshape(*shape, 1) if image.ndim == 3 else image
    expected = np.empty_like(flat)
    for c in range(flat.shape[0]):
        for z in range(flat.shape[3]):
            part = flat[c, ..., z]
            expected[c, ..., z] = (part - part.mean()) / (part.max() - part.min())
    got = normalize_slices(torch.as_tensor(image)).numpy()
    np.testing.assert_allclose(got, expected.reshape(shape), atol=1e-6)
    assert got.max() <= 1
    assert got.min() >= -1


def test_a_flat_slice_is_zero() -> None:
    image = torch.rand(1, 4, 4, 2)
    image[..., 1] = 17.0
    got = normalize_slices(image)
    assert torch.equal(got[..., 1], torch.zeros(1, 4, 4))
    assert got[..., 0].abs().max() > 0


def test_shift_to_zero() -> None:
    assert torch.equal(shift_to_zero(torch.tensor([-3.0, 0.0, 5.0])), torch.tensor([0.0, 3.0, 8.0]))


# Sizes and settings


@pytest.mark.parametrize("size", [(17, 20), (64, 5)], ids=str)
@pytest.mark.parametrize("shape", [(15, 33, 2), (16, 18, 7, 3), (16, 18, 4, 1)], ids=str)
def test_any_size_of_a_volume_or_a_cine_comes_onto_the_grid(
    write_volume: WriteVolume, shape: tuple, size: tuple
) -> None:
    path = write_volume("image.nii.gz", RNG.random(shape))
    image = SliceGrid((1.1, 1.3), size).preprocessing(("image",))({"image": str(path)})["image"]
    assert isinstance(image, MetaTensor)
    assert image.shape == (shape[3] if len(shape) == 4 else 1, *size, shape[2])
    assert image.dtype == torch.float32
    torch.testing.assert_close(image.pixdim.double(), torch.tensor([1.1, 1.3, 8.0]).double(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("spacing", (1.5,)), ("spacing", (1.5, 0)), ("spacing", (1.5, -1)), ("spacing", 1.5), ("spacing", (1.5, "1.5")),
     ("size", (192,)), ("size", (192, 0)), ("size", 192), ("size", (192.5, 192)), ("size", (1, 2, 3))],
    ids=str,
)  # fmt: skip
def test_a_grid_that_is_none_is_refused(setting: str, value: object) -> None:
    with pytest.raises(InputError, match=f"the grid's {setting} must be two positive .* got"):
        SliceGrid(**{setting: value})


def test_a_grid_from_json_equals_one_from_python() -> None:
    assert SliceGrid([1.5, 1.5], [192, 192]) == SliceGrid()


# What is refused


def refusal(num_classes: int = 4, **files: Path) -> str:
    """What the ``InputError`` for ``files`` says; MONAI's ``Compose`` wraps it."""
    with pytest.raises(RuntimeError) as caught:
        SliceGrid().preprocessing(tuple(files), num_classes)({key: str(path) for key, path in files.items()})
    known = input_error_in(caught.value)
    assert known is not None
    assert "\n" not in str(known)
    return str(known)


def volume(*shape: int) -> np.ndarray:
    return RNG.integers(0, 200, shape).astype(np.int16)


def labels(*shape: int, maximum: int = 3) -> np.ndarray:
    array = RNG.integers(0, 4, shape).astype(np.int16)
    array[0, 0, 0] = maximum
    return array


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    array = array.astype(np.float32)
    array[3, 3, 1] = value
    return array


S = (20, 18, 4)
BAD_IMAGES = {
    "NaN": (with_value(volume(*S), np.nan), "has NaN or infinite voxels: export the image again"),
    "infinite": (with_value(volume(*S), np.inf), "has NaN or infinite voxels: export the image again"),
    "constant": (np.full(S, 7, np.int16), r"is constant \(7 everywhere\).*export it again"),
    "one slice": (volume(20, 18, 1), "has 1 slice.*expected at least 2.*whole series was converted"),
    "one slice of a cine": (volume(20, 18, 1, 5), "has 1 slice.*expected at least 2"),
    "2-D": (volume(20, 18), "is 2-D, expected a 3-D stack of slices.*use a data set of images"),
    "5-D": (volume(20, 18, 4, 1, 3), "expected a 3-D stack of slices"),
}
BAD_LABELS = {
    "other shape": (
        labels(20, 17, 4),
        "has shape 20 x 17 x 4, its image .*20 x 18 x 4: a label must lie on its image's",
    ),
    "fewer slices": (labels(20, 18, 3), "has shape 20 x 18 x 3, its image"),
    "4-D": (labels(20, 18, 4, 2), "has shape 20 x 18 x 4 x 2, its image"),
    "value 4": (labels(*S, maximum=4), r"has the label values 4, expected 0 to 3 or 255 \(void\): map the labels"),
    "value -1": (labels(*S, maximum=-1), "has the label values -1, expected 0 to 3"),
    "value 254": (labels(*S, maximum=254), "has the label values 254, expected 0 to 3"),
    "fraction": (with_value(labels(*S), 1.5), "has the label values 1.5, expected 0 to 3"),
    "NaN": (with_value(labels(*S), np.nan), "has the label values nan, expected 0 to 3"),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_useless_image_is_refused(write_volume: WriteVolume, kind: str) -> None:
    array, problem = BAD_IMAGES[kind]
    path = write_volume("bad.nii.gz", array)
    message = refusal(image=path)
    assert re.search(problem, message)
    assert str(path) in message


@pytest.mark.parametrize("kind", BAD_LABELS)
def test_a_label_that_does_not_fit_is_refused(write_volume: WriteVolume, kind: str) -> None:
    array, problem = BAD_LABELS[kind]
    path = write_volume("bad_gt.nii.gz", array)
    message = refusal(image=write_volume("i.nii.gz", volume(*S)), label=path)
    assert re.search(problem, message)
    assert message.startswith(str(path))


def test_the_classes_decide_which_label_values_are_right(write_volume: WriteVolume) -> None:
    files = {"image": write_volume("i.nii.gz", volume(*S)), "label": write_volume("l.nii.gz", labels(*S))}
    assert "has the label values 3, expected 0 to 2" in refusal(num_classes=3, **files)
    transform = SliceGrid().preprocessing(("image", "label"), num_classes=4)
    assert transform({key: str(path) for key, path in files.items()})["label"].max() <= 3


def test_a_single_slice_passes_where_it_is_allowed(write_volume: WriteVolume) -> None:
    path = write_volume("one.nii.gz", volume(20, 18, 1))
    grid = SliceGrid((1.5, 1.5), (16, 16))
    assert grid.preprocessing(("image",), min_slices=1)({"image": str(path)})["image"].shape == (1, 16, 16, 1)


def test_a_label_of_another_voxel_size_is_refused(write_volume: WriteVolume) -> None:
    """It would come onto the networks' grid at another scale than its image."""
    files = {"image": write_volume("i.nii.gz", volume(*S)), "label": write_volume("l.nii.gz", labels(*S), (1, 1, 1))}
    message = refusal(**files)
    assert message.startswith(
        f"{files['label']} has the voxel size 1 x 1 x 1 mm, its image {files['image']} 1.5 x 1.5 x 8"
    )
    assert "copy the image's header" in message


def test_a_label_with_another_origin_is_taken_voxel_by_voxel_with_a_warning(
    write_volume: WriteVolume, caplog: pytest.LogCaptureFixture
) -> None:
    mask = labels(*S)
    moved = affine_of(np.diag([1.0, -1, 1]))
    files = {"image": write_volume("i.nii.gz", volume(*S)), "label": write_volume("l.nii.gz", mask, affine=moved)}
    with caplog.at_level(logging.WARNING):
        data = SliceGrid((1.5, 1.5), S[:2]).preprocessing(("image", "label"))({k: str(v) for k, v in files.items()})
    assert "l.nii.gz lies elsewhere than its image" in caplog.text
    np.testing.assert_array_equal(data["label"].numpy()[0], mask)


def test_a_label_of_nearly_the_same_voxel_size_is_taken_voxel_by_voxel(write_volume: WriteVolume) -> None:
    """Headers round; over a hundred pixels even 0.7 % would shift the outermost by most of one."""
    mask = labels(120, 110, 2)
    files = {
        "image": write_volume("i.nii.gz", volume(*mask.shape)),
        "label": write_volume("l.nii.gz", mask, (1.51, 1.51, 8)),
    }
    data = SliceGrid((1.5, 1.5), (120, 110)).preprocessing(("image", "label"))({k: str(v) for k, v in files.items()})
    np.testing.assert_array_equal(data["label"].numpy()[0], mask)


@pytest.mark.parametrize("broken", [0.0, np.nan, np.inf])
def test_a_file_without_voxel_size_is_refused(write_volume: WriteVolume, broken: float) -> None:
    path = write_volume("flat.nii", volume(*S))
    content = bytearray(path.read_bytes())
    for offset in (80, 280):  # the header's first voxel size, and the first number of its affine
        content[offset : offset + 4] = np.float32(broken).tobytes()
    path.write_bytes(content)
    message = refusal(image=path)
    assert str(path) in message
    assert "expected three positive numbers: repair the file's header" in message


# Real data


@pytest.fixture(scope="module")
def widest_patients(real_data: Path) -> list[Patient]:
    """Three whose hearts reach farthest from the image's centre, and the one of the largest field of view."""
    patients = list(find_patients(real_data / "acdc").values())
    largest = max(patients, key=lambda patient: _field_of_view(patient.frames[min(patient.frames)]))
    return [*sorted(patients, key=lambda patient: _reach(patient.label(min(patient.frames))))[-3:], largest]


@pytest.mark.parametrize("grid", [SliceGrid(), SliceGrid((3.0, 3.0), (96, 96))], ids=["192 x 192", "96 x 96"])
def test_no_labelled_voxel_of_the_widest_real_patients_is_cropped_away(
    widest_patients: list[Patient], grid: SliceGrid
) -> None:
    wide = SliceGrid(grid.spacing, (2 * grid.size[0], 2 * grid.size[1]))
    for patient in widest_patients:
        for frame, image in patient.frames.items():
            files = {"image": str(image), "label": str(patient.label(frame))}
            cropped, whole = (g.preprocessing(("image", "label"))(files)["label"].as_tensor() for g in (grid, wide))
            assert torch.equal(cropped.unique(return_counts=True)[1][1:], whole.unique(return_counts=True)[1][1:])
            label = nib.load(files["label"])
            acquired = np.count_nonzero(label.dataobj) * np.prod(label.header.get_zooms()[:2])
            assert (cropped > 0).sum() * np.prod(grid.spacing) == pytest.approx(acquired, rel=0.03)


def _field_of_view(path: Path) -> float:
    header = nib.load(path).header
    return max(n * mm for n, mm in zip(header.get_data_shape()[:2], header.get_zooms()[:2], strict=True))


def _reach(path: Path) -> float:
    """Largest in-plane distance in mm of a labelled voxel from the image's centre, along an axis."""
    file = nib.load(path)
    where = np.argwhere(np.asarray(file.dataobj).any(2))
    return float((np.abs(where - (np.array(file.shape[:2]) - 1) / 2) * file.header.get_zooms()[:2]).max())
