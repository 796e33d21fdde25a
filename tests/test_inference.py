"""Inference: labels in the right place, on exactly the image's grid, whole files only."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from monai.bundle import ConfigWorkflow
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from scripts.configuration import build
from scripts.data.label_maps import label_map_name, write_label_map
from scripts.errors import InputError, input_error_in
from scripts.files import save_tensors
from scripts.inference import LabelMapWriter, VolumeLoader, find_images
from scripts.model_card import ModelCard, load_model, read_card

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "inference.json"
RESNET = {
    "_target_": "scripts.networks.resnet_generator.ResNetGenerator",
    "in_channels": 1,
    "out_channels": 4,
    "filters": 2,
    "blocks": 1,
}
UNET = {
    "_target_": "monai.networks.nets.UNet",
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 4,
    "channels": [4, 8, 8],
    "strides": [2, 2],
}
GRID_FIELDS = "pixdim xyzt_units qform_code sform_code quatern_b quatern_c quatern_d qoffset_x qoffset_y qoffset_z srow_x srow_y srow_z"


class Threshold(nn.Module):
    """Class 1 where a pixel is brighter than the middle of its slice, 0 elsewhere."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.full_like(x, 0.4), x], 1) * 20


@pytest.fixture(autouse=True)
def _process_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """The config changes the path and the printing of errors for its process."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


@pytest.fixture
def resnet(tmp_path: Path) -> Path:
    return save_model(tmp_path / "model", RESNET)


def save_model(folder: Path, definition: dict, classes: int = 4, grid: tuple[float, int] = (1.5, 32)) -> Path:
    torch.manual_seed(0)
    spacing, size = grid
    names = tuple(f"class {k}" for k in range(classes))
    card = ModelCard(definition, names, (spacing, spacing), (size, size), "", "phantom", "none", "0")
    card.save(folder / "model.pt", build(definition), {})
    return folder / "model.pt"


def workflow_for(dataset_dir: Path | None, output_dir: Path, model: Path, **settings: object) -> ConfigWorkflow:
    workflow = ConfigWorkflow(
        str(CONFIG),
        workflow_type="infer",
        logging_file=False,
        bundle_root=str(ROOT),
        dataset_dir=dataset_dir and str(dataset_dir),
        output_dir=str(output_dir),
        model=str(model),
        device=torch.device("cpu"),
        **settings,
    )
    workflow.initialize()
    return workflow


def infer(dataset_dir: Path | None, output_dir: Path, model: Path, **settings: object) -> None:
    """As the command line does, with the error that it would print."""
    try:
        workflow_for(dataset_dir, output_dir, model, **settings).run()
    except Exception as error:
        raise input_error_in(error) or error from None


def infer_threshold(
    dataset_dir: Path, output_dir: Path, grid: tuple[float, int] = (1.5, 48), **settings: object
) -> None:
    model = save_model(output_dir.parent / "threshold", RESNET, classes=2, grid=grid)
    save_tensors(model, {})
    infer(dataset_dir, output_dir, model, network_def=Threshold(), **settings)


def affine_of(kind: str, spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    if kind == "acdc":
        rotation = np.diag([-1.0, -1.0, 1.0])
    elif kind == "permuted":  # left-handed
        rotation = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]) @ np.diag([1.0, 1.0, -1.0])
    else:
        rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.asarray(spacing)
    affine[:3, 3] = (-31.4, 17.5, 203.25)
    return affine


def blob(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], at: tuple[float, float]
) -> NDArray[np.bool_]:
    """An ellipse of 20 x 13 mm, ``at`` mm from the centre in-plane, smaller towards the last slice."""
    x, y, z = (np.arange(n) for n in shape)
    u = (x - (shape[0] - 1) / 2) * spacing[0] - at[0]
    v = (y - (shape[1] - 1) / 2) * spacing[1] - at[1]
    size = 1 - 0.4 * z / shape[2]
    return (u[:, None, None] / (10 * size)) ** 2 + (v[:, None] / (6.5 * size)) ** 2 < 1


def dice(a: NDArray, b: NDArray) -> float:
    return 2 * np.logical_and(a, b).sum() / (a.sum() + b.sum())


def centroid(mask: NDArray, affine: NDArray) -> NDArray:
    return affine[:3, :3] @ np.argwhere(mask).mean(0) + affine[:3, 3]


def noise(shape: tuple[int, ...]) -> NDArray[np.int16]:
    return np.random.default_rng(0).integers(0, 500, shape).astype(np.int16)


def save_nifti(path: Path, array: NDArray, affine: NDArray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([-1.5, -1.5, 8.0, 1.0]) if affine is None else affine), path)
    return path


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", ["acdc", "permuted", "rotated"])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((61, 45, 5), (0.7, 1.1, 10.0)), ((33, 71, 2), (2.5, 1.2, 5.0)), ((141, 130, 3), (0.9, 0.9, 7.3))],
)
def test_labels_lie_where_the_image_is_bright(
    tmp_path: Path, kind: str, shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    bright = blob(shape, spacing, at=(7.0, -4.0))
    affine = affine_of(kind, spacing)
    image = save_nifti(tmp_path / "image.nii.gz", np.where(bright, 900, 30).astype(np.int16), affine)
    infer_threshold(image, tmp_path / "out")
    written = nib.load(tmp_path / "out" / "image_seg.nii.gz")
    labels = np.asarray(written.dataobj)
    assert labels.dtype == np.uint8
    assert labels.shape == shape
    assert dice(labels == 1, bright) > 0.9
    distance = centroid(labels == 1, written.affine) - centroid(bright, affine)
    assert np.linalg.norm(distance) < 0.5


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("variant", ["little", "big", "nifti2", "qform only", "scaled"])
def test_nifti_grid_is_equal_bit_for_bit(tmp_path: Path, suffix: str, variant: str) -> None:
    affine = affine_of("rotated", (0.1 + 0.2, 1.7, 8.3))
    kind = nib.Nifti2Image if variant == "nifti2" else nib.Nifti1Image
    header = kind.header_class(endianness=">" if variant == "big" else "<")
    source = kind(noise((17, 13, 3)).astype(np.float32), affine, header)
    source.set_sform(None if variant == "qform only" else affine, code=0 if variant == "qform only" else 2)
    source.set_qform(affine_of("rotated", (0.3, 1.7, 8.3)) + np.diag([0, 0, 0, 0.0]), code=1)
    source.header.set_xyzt_units("mm", "sec")
    source.header["cal_max"] = 400
    if variant == "scaled":
        source.set_data_dtype(np.int16)
        source.header.set_slope_inter(0.5, 3)
    image = tmp_path / f"image{suffix}"
    nib.save(source, image)
    labels = np.random.default_rng(1).integers(0, 4, (1, 17, 13, 3)).astype(np.uint8)
    path = write_label_map(tmp_path / label_map_name(image), labels, image)
    source, written = nib.load(image), nib.load(path)
    for name in GRID_FIELDS.split():
        assert written.header[name].tobytes() == source.header[name].tobytes(), name
    np.testing.assert_array_equal(written.affine, source.affine)
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(written.dataobj), labels[0])
    assert files_in(tmp_path) == sorted([f"image{suffix}", f"image_seg{suffix}"])


def simple_itk_image(array: NDArray, vectors: bool = False) -> SimpleITK.Image:
    """(z, y, x) or (t, z, y, x), oblique."""
    image = SimpleITK.GetImageFromArray(array, isVector=vectors)
    direction = np.eye(image.GetDimension())
    direction[:3, :3] = affine_of("rotated", (1.0, 1.0, 1.0))[:3, :3]
    direction[:3, 2] *= np.linalg.det(direction)  # right-handed
    image.SetDirection(direction.ravel().tolist())
    image.SetSpacing([0.1 + 0.2, 1.7, 8.3, 33.3][: image.GetDimension()])
    image.SetOrigin([1 / 3, -70.123456789, 12.0, 0.0][: image.GetDimension()])
    return image


@pytest.mark.parametrize(
    ("name", "written"),
    [("a.b.mha", "a.b_seg.mha"), ("a.mhd", "a_seg.mha"), ("a.nrrd", "a_seg.nrrd"), ("a.nhdr", "a_seg.nrrd"),
     ("a.NRRD", "a_seg.nrrd"), ("a.vtk", "a_seg.mha")],
)  # fmt: skip
def test_other_formats_keep_grid_and_values(tmp_path: Path, name: str, written: str) -> None:
    SimpleITK.WriteImage(simple_itk_image(noise((5, 13, 17))), str(tmp_path / name))
    labels = np.random.default_rng(1).integers(0, 4, (1, 17, 13, 5)).astype(np.uint8)
    path = write_label_map(tmp_path / label_map_name(name), labels, tmp_path / name)
    assert path.name == written
    source, label_map = SimpleITK.ReadImage(str(tmp_path / name)), SimpleITK.ReadImage(str(path))
    # NRRD keeps spacing times direction: the last bit may differ.
    tolerance = 1e-14 if written.endswith(".nrrd") else 0
    for of in (SimpleITK.Image.GetSpacing, SimpleITK.Image.GetOrigin, SimpleITK.Image.GetDirection):
        np.testing.assert_allclose(of(label_map), of(source), rtol=tolerance, atol=tolerance)
    assert label_map.GetPixelID() == SimpleITK.sitkUInt8
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(label_map), labels[0].T)


@pytest.mark.parametrize("name", ["cine.nii.gz", "cine.mha", "cine.nrrd", "vectors.nrrd", "vectors.mha"])
def test_phases_of_a_cine_are_labelled_one_by_one(tmp_path: Path, name: str) -> None:
    shape, spacing = (41, 35, 3), (1.2, 1.4, 8.0)
    places = [(8.0, -3.0), (0.0, 0.0), (-6.0, 5.0), (3.0, 6.0)]
    bright = np.stack([blob(shape, spacing, at) for at in places])
    phases = np.where(bright, 900, 30).astype(np.int16)
    if name == "cine.nii.gz":
        save_nifti(tmp_path / name, np.moveaxis(phases, 0, -1), affine_of("rotated", spacing))
    elif name.startswith("vectors"):
        image = simple_itk_image(phases.transpose(3, 2, 1, 0), vectors=True)
        image.SetSpacing(spacing)
        SimpleITK.WriteImage(image, str(tmp_path / name))
    else:
        image = simple_itk_image(phases.transpose(0, 3, 2, 1))
        image.SetSpacing((*spacing, 33.3))
        SimpleITK.WriteImage(image, str(tmp_path / name))
    infer_threshold(tmp_path / name, tmp_path / "out", batch_size=5)
    (path,) = (tmp_path / "out").iterdir()
    if name == "cine.nii.gz":
        found = np.moveaxis(np.asarray(nib.load(path).dataobj), -1, 0)
    else:
        label_map = SimpleITK.ReadImage(str(path))
        assert label_map.GetSize() == SimpleITK.ReadImage(str(tmp_path / name)).GetSize()
        array = SimpleITK.GetArrayFromImage(label_map)
        found = array.transpose(3, 2, 1, 0) if name.startswith("vectors") else array.transpose(0, 3, 2, 1)
    assert found.shape == bright.shape
    for phase in range(len(places)):
        assert dice(found[phase] == 1, bright[phase]) > 0.9, phase


def test_a_cine_of_one_phase_stays_four_dimensional(tmp_path: Path, resnet: Path) -> None:
    save_nifti(tmp_path / "one.nii.gz", noise((20, 21, 3, 1)))
    infer(tmp_path / "one.nii.gz", tmp_path / "out", resnet)
    assert nib.load(tmp_path / "out" / "one_seg.nii.gz").shape == (20, 21, 3, 1)


@pytest.mark.parametrize("definition", [RESNET | {"filters": 16, "blocks": 9}, UNET], ids=["16-filter ResNet", "U-Net"])
def test_on_the_grid_of_the_network_labels_are_its_arg_max(tmp_path: Path, definition: dict) -> None:
    model = save_model(tmp_path / "model", definition)
    array = noise((32, 32, 5))
    save_nifti(tmp_path / "image.nii.gz", array)
    infer(tmp_path / "image.nii.gz", tmp_path / "out", model, largest_component="false", batch_size=2)
    found = np.asarray(nib.load(tmp_path / "out" / "image_seg.nii.gz").dataobj)
    slices = torch.from_numpy(array).float().movedim(-1, 0)
    extent = slices.amax((1, 2), keepdim=True) - slices.amin((1, 2), keepdim=True)
    network, _ = load_model(model)
    with torch.no_grad():
        expected = network(((slices - slices.mean((1, 2), keepdim=True)) / extent)[:, None]).argmax(1).movedim(0, -1)
    assert len(np.unique(found)) > 1
    assert (found == expected.numpy()).mean() > 0.999


def test_network_definition_can_be_overridden(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", UNET)
    card = model.with_suffix(".json")
    card.write_text(card.read_text(encoding="utf-8").replace('"strides": [', '"strides": [ 1, '))
    save_nifti(tmp_path / "image.nii.gz", noise((20, 20, 2)))
    infer(tmp_path / "image.nii.gz", tmp_path / "out", model, network_def=UNET)
    assert files_in(tmp_path / "out") == ["image_seg.nii.gz"]


@pytest.mark.parametrize(("option", "kept"), [(True, 1), ("true", 1), (False, 2), ("false", 2)])
def test_largest_component_is_an_option(tmp_path: Path, option: object, kept: int) -> None:
    shape, spacing = (48, 48, 3), (1.5, 1.5, 8.0)
    large, small = blob(shape, spacing, (8.0, 0.0)), blob(shape, spacing, (-14.0, 12.0))
    small[:, :, 1:] = False
    save_nifti(tmp_path / "image.nii.gz", np.where(large | small, 900, 30).astype(np.int16))
    infer_threshold(tmp_path / "image.nii.gz", tmp_path / "out", largest_component=option)
    found = np.asarray(nib.load(tmp_path / "out" / "image_seg.nii.gz").dataobj)
    assert dice(found == 1, large if kept == 1 else large | small) > 0.95
    assert bool(found[small].any()) == (kept == 2)


def test_by_the_likelihood_the_image_fills_what_the_network_left_out(tmp_path: Path) -> None:
    shape, random = (48, 48, 3), np.random.default_rng(0)
    heart = blob(shape, (1.5, 1.5, 8.0), (0.0, 0.0))
    image = np.where(heart, random.normal(450, 120, shape), random.normal(30, 20, shape))
    save_nifti(tmp_path / "image.nii.gz", image.astype(np.int16))
    overlap = []
    for likelihood in (0, 1):
        infer_threshold(tmp_path / "image.nii.gz", tmp_path / str(likelihood), likelihood=likelihood)
        found = np.asarray(nib.load(tmp_path / str(likelihood) / "image_seg.nii.gz").dataobj)
        overlap.append(dice(found == 1, heart))
    assert overlap[0] < 0.9 < 0.95 < overlap[1]


def test_folders_are_searched_and_their_structure_kept(tmp_path: Path, phantom_dir: Path, resnet: Path) -> None:
    found = [Path(item["image"]).relative_to(phantom_dir) for item in find_images(phantom_dir, tmp_path)]
    expected = [p.relative_to(phantom_dir) for p in phantom_dir.rglob("*.nii.gz") if "_gt" not in p.name]
    assert found == sorted(expected)
    patient = phantom_dir / found[0].parts[0]
    infer(patient if patient.is_dir() else phantom_dir, tmp_path / "out", resnet, dataset={
        "_target_": "Dataset",
        "data": [{"image": str(phantom_dir / found[0])}, {"image": str(phantom_dir / found[1])}],
        "transform": "@preprocessing",
    })  # fmt: skip
    start = patient.relative_to(phantom_dir)
    names = [path.relative_to(start).with_name(label_map_name(path)).as_posix() for path in found[:2]]
    assert files_in(tmp_path / "out") == sorted(names)


def test_what_is_not_an_image_is_passed_over(tmp_path: Path) -> None:
    names = ["b/x.nii", "a.nrrd", "A.NII.GZ", "a_gt.nii.gz", "b/x_seg.nii", "notes.txt", "._a.nii.gz", ".cache/c.nii"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    found = [Path(item["image"]).relative_to(tmp_path).as_posix() for item in find_images(tmp_path, tmp_path / "out")]
    assert found == ["A.NII.GZ", "a.nrrd", "b/x.nii"]


def test_outputs_in_the_data_folder_are_not_taken_for_images(tmp_path: Path, resnet: Path) -> None:
    save_nifti(tmp_path / "data" / "image.nii.gz", noise((20, 20, 2)))
    for _ in range(2):
        infer(tmp_path / "data", tmp_path / "data" / "out", resnet)
    assert files_in(tmp_path / "data") == ["image.nii.gz", "out/image_seg.nii.gz"]


def make_missing(folder: Path) -> Path:
    return folder / "missing"


def make_empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def make_text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("not an image")
    return folder / "notes.txt"


def make_two_of_one_name(folder: Path) -> Path:
    for suffix in ("mha", "mhd"):
        (folder / f"same.{suffix}").touch()
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "no dataset_dir was given"),
        (make_missing, "missing does not exist"),
        (make_empty, r"holds no image: looked .* \.nii\.gz"),
        (make_text, "notes.txt is not an image"),
        (make_two_of_one_name, "same.mha and .*same.mhd would both be labelled in .*same_seg.mha"),
    ],
)
def test_unusable_dataset_dir(tmp_path: Path, make: Callable[[Path], Path | None], message: str) -> None:
    model = save_model(tmp_path / "model", RESNET)
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match=message):
        infer(make(tmp_path / "data"), tmp_path / "out", model)
    assert not (tmp_path / "out").exists()


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"cannot be read: .*Permission denied"):
        find_images(tmp_path, tmp_path / "out")


def test_label_maps_beside_their_images_are_not_replaced(tmp_path: Path) -> None:
    save_nifti(tmp_path / "image.nii.gz", noise((20, 20, 2)))
    (tmp_path / "image_seg.nii.gz").write_text("drawn by hand")
    with pytest.raises(InputError, match="may have been drawn by hand"):
        find_images(tmp_path / "image.nii.gz", tmp_path)


def broken(folder: Path, name: str) -> Path:
    path = folder / name
    if name.startswith("cut"):
        save = SimpleITK.WriteImage if path.suffix in (".nrrd", ".mha") else None
        if save is None:
            save_nifti(path, noise((24, 24, 4)))
        else:
            save(simple_itk_image(noise((4, 24, 24))), str(path))
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif name.startswith("text"):
        path.write_text("not an image " * 100)
    elif name.startswith("void"):
        path.touch()
    else:
        array = {
            "flat": noise((24, 24)),
            "single": noise((24, 24, 1)),
            "nan": np.where(noise((24, 24, 3)) == noise((24, 24, 3)).max(), np.nan, 1.0).astype(np.float32),
            "constant": np.full((24, 24, 3), 7, np.int16),
        }[name.partition(".")[0]]
        save_nifti(path, array)
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [("cut.nii.gz", "cannot be read"), ("cut.nii", "cannot be read"), ("cut.nrrd", "cannot be read"),
     ("cut.mha", "cannot be read"), ("text.nii.gz", "cannot be read"), ("text.nii", "cannot be read"),
     ("text.mha", "cannot be read"), ("void.nii.gz", "cannot be read"), ("flat.nii.gz", "is 2-D"),
     ("single.nii.gz", r"has 1 slice"), ("nan.nii.gz", "NaN"), ("constant.nii.gz", "is constant")],
)  # fmt: skip
def test_unusable_image(tmp_path: Path, resnet: Path, name: str, message: str) -> None:
    path = broken(tmp_path, name)
    with pytest.raises(InputError, match=message) as caught:
        infer(path, tmp_path / "out", resnet)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert files_in(tmp_path / "out") == []


def test_broken_images_among_others_are_named_when_all_are_done(tmp_path: Path, resnet: Path) -> None:
    data = tmp_path / "data"
    for name in ("a.nii.gz", "z.nii.gz"):
        save_nifti(data / name, noise((24, 24, 3)))
    names = ["cut.nii.gz", "flat.nii.gz", "nan.nii.gz", "single.nii.gz", "text.mha"]
    for name in names:
        broken(data, name)
    with pytest.raises(InputError, match="5 of 7 images have no label map") as caught:
        infer(data, tmp_path / "out", resnet)
    lines = str(caught.value).splitlines()[1:]
    assert [str(data / name) in line for name, line in zip(names, lines, strict=True)] == [True] * 5
    assert files_in(tmp_path / "out") == ["a_seg.nii.gz", "z_seg.nii.gz"]


def remove_weights(model: Path) -> None:
    model.unlink()


def remove_card(model: Path) -> None:
    model.with_suffix(".json").unlink()


def spoil_weights(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:500])


def save_whole_state(model: Path) -> None:
    save_tensors(model, {"network": {}, "epoch": 3})


def save_other_weights(model: Path) -> None:
    torch.save(build(RESNET | {"filters": 4}).state_dict(), model)


def drop_class_name(model: Path) -> None:
    card = model.with_suffix(".json")
    card.write_text(card.read_text(encoding="utf-8").replace('"class 3"', "").replace('"class 2",', '"class 2"'))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_weights, "model.pt cannot be read as weights"),
        (remove_card, "model.json is not a model card"),
        (spoil_weights, "model.pt cannot be read as weights"),
        (save_whole_state, "does not hold weights alone"),
        (save_other_weights, r"another architecture .* network \(2, 1, 7, 7\), file \(4, 1, 7, 7\)"),
        (drop_class_name, "gives 4 classes where the model card names 3"),
    ],
)
def test_unusable_model(tmp_path: Path, resnet: Path, spoil: Callable[[Path], None], message: str) -> None:
    image = save_nifti(tmp_path / "image.nii.gz", noise((24, 24, 3)))
    spoil(resnet)
    with pytest.raises(InputError, match=message):
        infer(image, tmp_path / "out", resnet)
    assert files_in(tmp_path / "out") == []


def test_option_that_is_no_flag(tmp_path: Path, resnet: Path) -> None:
    image = save_nifti(tmp_path / "image.nii.gz", noise((24, 24, 3)))
    with pytest.raises(InputError, match="--largest_component must be true or false, got 'maybe'"):
        infer(image, tmp_path / "out", resnet, largest_component="maybe")


def test_a_likelihood_is_refused_for_photographs(tmp_path: Path, resnet: Path) -> None:
    card = replace(read_card(resnet), spacing=None)
    card.save(resnet, build(RESNET), {})
    Image.fromarray(np.arange(48 * 40, dtype=np.uint8).reshape(48, 40)).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match="--likelihood is for volumes"):
        infer(tmp_path / "photo.png", tmp_path / "out", resnet, likelihood=0.5)
    infer(tmp_path / "photo.png", tmp_path / "out", resnet)
    assert len(files_in(tmp_path / "out")) == 1


def test_unwritable_output(tmp_path: Path, resnet: Path) -> None:
    image = save_nifti(tmp_path / "image.nii.gz", noise((24, 24, 3)))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--output_dir .* cannot be written"):
        infer(image, tmp_path / "file" / "out", resnet)


@pytest.mark.parametrize("name", ["image.nii", "image.mha"])
def test_full_disk_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    resource = pytest.importorskip("resource")
    image = tmp_path / name
    SimpleITK.WriteImage(simple_itk_image(noise((9, 40, 40))), str(image))
    path = tmp_path / label_map_name(image)
    path.write_text("earlier")
    labels = np.random.default_rng(0).integers(0, 4, (1, 40, 40, 9)).astype(np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(InputError, match="could not be written"):
            write_label_map(path, labels, image)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text(encoding="utf-8") == "earlier"
    assert files_in(tmp_path) == sorted([name, path.name])


def test_workflow_has_the_properties_that_monai_expects(tmp_path: Path, resnet: Path) -> None:
    save_nifti(tmp_path / "image.nii.gz", noise((24, 24, 3)))
    workflow = workflow_for(tmp_path / "image.nii.gz", tmp_path / "out", resnet)
    assert workflow.check_properties() == []
    assert isinstance(workflow.parser.get_parsed_content("dataloader"), VolumeLoader)
    assert isinstance(workflow.handlers[0], LabelMapWriter)
    assert workflow.parser.get_parsed_content("network").state_dict().keys() == workflow.network_def.state_dict().keys()
    assert not (tmp_path / "out").exists()


def test_config_begins_like_training() -> None:
    workflows = [
        ConfigWorkflow(str(ROOT / "configs" / name), logging_file=False) for name in ("train.json", CONFIG.name)
    ]
    begun = [(w.parser.config["add_bundle_root"], w.parser.config["initialize"][:2]) for w in workflows]
    assert begun[0] == begun[1]


def test_command_from_another_directory(tmp_path: Path, resnet: Path) -> None:
    (tmp_path / "elsewhere" / "scripts").mkdir(parents=True)
    (tmp_path / "elsewhere" / "scripts" / "__init__.py").write_text("raise ImportError('a foreign package')")
    save_nifti(tmp_path / "data" / "patient" / "a.nii.gz", noise((24, 24, 3)))
    broken(tmp_path / "data", "cut.nii.gz")
    command = [sys.executable, "-m", "monai.bundle", "run", "inference", "--config_file", str(CONFIG)]
    command += ["--bundle_root", str(ROOT), "--model", str(resnet), "--device", "$torch.device('cpu')"]
    command += ["--dataset_dir", "../data", "--output_dir", "../out", "--largest_component", "false"]
    run = subprocess.run(
        command,
        cwd=tmp_path / "elsewhere",
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode != 0
    assert "Error: 1 of 2 images have no label map; the others are done.\n- ../data/cut.nii.gz cannot be" in run.stderr
    assert "Traceback" not in run.stderr
    assert "scripts.inference: 1 of 2: ../data/patient/a.nii.gz -> ../out/patient/a_seg.nii.gz" in run.stdout
    assert files_in(tmp_path / "out") == ["patient/a_seg.nii.gz"]


def test_real_frames_as_volumes_cine_and_metaimage(tmp_path: Path, real_data: Path) -> None:
    frames = sorted((real_data / "acdc" / "validation").glob("*/*_frame??.nii.gz"))[:2]
    model = save_model(tmp_path / "model", RESNET | {"filters": 4}, grid=(3.0, 96))
    volumes = [nib.load(frame) for frame in frames]
    stacked = np.stack([np.asarray(volume.dataobj) for volume in volumes], -1)
    nib.save(nib.Nifti1Image(stacked, None, volumes[0].header), tmp_path / "patient_4d.nii.gz")
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(frames[0])), str(tmp_path / "patient_frame.mha"))
    labels = []
    for image in (*frames, tmp_path / "patient_4d.nii.gz", tmp_path / "patient_frame.mha"):
        infer(image, tmp_path / "out", model)
        labels.append(tmp_path / "out" / label_map_name(image))
    for frame, path in zip(frames, labels, strict=False):
        for name in GRID_FIELDS.split():
            assert nib.load(path).header[name].tobytes() == nib.load(frame).header[name].tobytes(), name
        assert nib.load(path).shape == nib.load(frame).shape
    single = np.stack([np.asarray(nib.load(path).dataobj) for path in labels[:2]], -1)
    assert len(np.unique(single)) > 1
    np.testing.assert_array_equal(np.asarray(nib.load(labels[2]).dataobj), single)
    metaimage = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(labels[3]))).T
    assert (metaimage == single[..., 0]).mean() > 0.999


def test_an_output_folder_that_is_a_file_is_told(tmp_path: Path, resnet: Path) -> None:
    """Though nothing has begun that could end."""
    volume = tmp_path / "volume.nii.gz"
    nib.save(nib.Nifti1Image(np.random.default_rng(0).random((20, 20, 3)), np.eye(4)), volume)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(Exception) as raised:  # noqa: PT011 - MONAI wraps it
        infer(volume, tmp_path / "taken", resnet)
    assert "taken" in str(input_error_in(raised.value))
