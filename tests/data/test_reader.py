"""Files of several formats: the same array, the same place in the world; broken ones are refused by name."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from monai.data.image_reader import NibabelReader
from monai.transforms import LoadImage

from scripts.data.preprocessing import SliceGrid
from scripts.data.reader import LoadVolumed, SimpleITKReader
from scripts.errors import InputError

WriteVolume = Callable[..., Path]
RNG = np.random.default_rng(0)


@pytest.fixture(params=[(9, 8, 5), (9, 8, 5, 3)], ids=["3-D", "4-D"])
def oblique_nifti(request: pytest.FixtureRequest, write_volume: WriteVolume) -> Path:
    rotation, _ = np.linalg.qr(np.array([[0.7, 0.4, 0.5], [-0.2, 0.9, 0.3], [-0.6, -0.3, 0.8]]))
    affine = np.eye(4)
    affine[:3, :3] = rotation * (1.37, 1.52, 9.6)
    affine[:3, 3] = (-31.5, 77.25, 120.0)
    return write_volume("oblique.nii.gz", RNG.integers(0, 900, request.param).astype(np.int16), affine=affine)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".mhd"])
def test_simpleitk_and_nibabel_agree_on_voxels_and_place(oblique_nifti: Path, suffix: str) -> None:
    other = oblique_nifti.with_name(f"converted{suffix}")
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(oblique_nifti)), str(other))
    ours, theirs = SimpleITKReader(), NibabelReader()
    array, meta = ours.get_data(ours.read(other))
    expected, expected_meta = theirs.get_data(theirs.read(oblique_nifti))
    np.testing.assert_array_equal(array, expected)
    np.testing.assert_allclose(meta["affine"], nib.load(oblique_nifti).affine, atol=1e-4)
    np.testing.assert_allclose(meta["original_affine"], meta["affine"])
    np.testing.assert_array_equal(meta["spatial_shape"], expected_meta["spatial_shape"])
    np.testing.assert_equal(meta["original_channel_dim"], expected_meta["original_channel_dim"])
    assert meta["space"] == expected_meta["space"]


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".nii"])
def test_the_networks_see_the_same_whatever_the_format(oblique_nifti: Path, suffix: str) -> None:
    other = oblique_nifti.with_name(f"converted{suffix}")
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(oblique_nifti)), str(other))
    transform = SliceGrid((1.37, 1.52), (8, 12)).preprocessing(("image",))
    one, two = (transform({"image": str(path)})["image"] for path in (oblique_nifti, other))
    assert one.shape == two.shape
    np.testing.assert_allclose(two.numpy(), one.numpy(), atol=1e-3)
    np.testing.assert_allclose(two.affine, one.affine, atol=1e-3)


def test_components_of_a_vector_image_come_last(tmp_path: Path) -> None:
    array = RNG.integers(0, 99, (5, 8, 9, 3)).astype(np.int16)  # z, y, x, component
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=True), str(tmp_path / "colour.mha"))
    got = LoadImage(reader=SimpleITKReader())(tmp_path / "colour.mha")
    np.testing.assert_array_equal(got.numpy(), array.transpose(2, 1, 0, 3))


@pytest.mark.parametrize(
    ("name", "ours"),
    [("a.nrrd", True), ("a.mha", True), ("a.hdr", True), ("a.nii", False), ("a.nii.gz", False), ("A.NII.GZ", False)],
)
def test_nifti_is_left_to_nibabel(name: str, ours: bool) -> None:
    assert SimpleITKReader().verify_suffix(name) == ours
    assert SimpleITKReader().verify_suffix([name, name]) == ours


def test_image_and_label_may_be_of_different_formats(oblique_nifti: Path) -> None:
    other = oblique_nifti.with_name("label.nrrd")
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(oblique_nifti)), str(other))
    data = LoadVolumed(("image", "label"))({"image": str(oblique_nifti), "label": str(other)})
    np.testing.assert_array_equal(data["image"].numpy(), data["label"].numpy())
    assert data["label"].meta["filename_or_obj"] == str(other)


def test_absent_keys_pass(oblique_nifti: Path) -> None:
    assert set(LoadVolumed(("image", "label"))({"image": str(oblique_nifti), "phase": "ED"})) == {"image", "phase"}


def _cut(path: Path, fraction: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])


BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "truncated gz": ("a.nii.gz", lambda path: _cut(path, 0.5), "Compressed file ended before the end-of-stream"),
    "truncated in the header": ("a.nii.gz", lambda path: _cut(path, 0.01), "a complete NIfTI file"),
    "truncated": ("a.nii", lambda path: _cut(path, 0.5), "could the file be damaged"),
    "empty": ("a.nii.gz", lambda path: path.write_bytes(b""), "Empty file"),
    "text": ("a.nii", lambda path: path.write_text("patient,ED,ES\n" * 99), "Cannot work out file type"),
    "text for gz": ("a.nii.gz", lambda path: path.write_text("patient,ED,ES\n" * 99), "not a gzip file"),
    "no such file": ("a.nii.gz", lambda path: path.unlink(), "No such file"),
    "text for an image": ("a.nrrd", lambda path: path.write_text("hello"), "of a format that SimpleITK reads"),
    "of no known format": ("a.csv", lambda path: path.write_text("a,b\n1,2\n"), "of a format that SimpleITK reads"),
    "a pickle": ("a.npy", lambda path: np.save(path, np.array([{}]), allow_pickle=True), "format that SimpleITK reads"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_cannot_be_read_is_refused(write_volume: WriteVolume, kind: str) -> None:
    name, spoil, problem = BROKEN[kind]
    path = write_volume("good.nii.gz" if name.endswith("gz") else "good.nii", RNG.random((9, 8, 5)))
    path = path.rename(path.with_name(name))
    spoil(path)
    with pytest.raises(InputError, match=problem) as caught:
        LoadVolumed(("image",))({"image": str(path)})
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be read: ")
    assert message.endswith("copy or convert it again.")
    assert "\n" not in message
    assert "install" not in message  # what MONAI advises for every file that it cannot read
