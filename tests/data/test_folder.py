"""A user's own folder: layouts, names that match, facts that are found, and what cannot be used."""

import gzip
import json
import struct
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from imagesets import write_folder, write_image, write_mask, write_volume, write_volume_folder
from PIL import Image

from scripts.data.folder import data_list
from scripts.data.folder_facts import VolumeHeader, count_classes, covering_grid, median_size, volume_header
from scripts.errors import InputError

SECTIONS = ("labeled", "unlabeled", "validation", "test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine photographs, six with a label."""
    return write_folder(tmp_path / "Eigene Bilder ü")


@pytest.fixture
def parted(tmp_path: Path) -> Path:
    """The layout of train, val and test, one image of train without a label."""
    root = tmp_path / "parted"
    write_folder(root / "train", labeled=4, unlabeled=1)
    write_folder(root / "val", labeled=2, unlabeled=0)
    write_folder(root / "test", labeled=1, unlabeled=0)
    return root


def counts(made: dict) -> list[int]:
    return [len(made[section]) for section in SECTIONS]


def images(items: list[dict]) -> list[str]:
    return [item["image"] for item in items]


def written(root: Path, content: Any) -> Path:
    path = root / "my list.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


# Layouts


def test_images_without_a_label_are_unlabelled_and_validation_is_drawn(folder: Path) -> None:
    made = data_list(folder)
    assert counts(made) == [5, 3, 1, 0]
    assert images(made["unlabeled"]) == [f"images/scene {number:02d}.png" for number in (6, 7, 8)]
    for item in made["labeled"] + made["validation"]:
        assert (folder / item["image"]).name == (folder / item["label"]).name
        assert (folder / item["label"]).is_file()
    assert made["name"] == folder.name


def test_train_val_and_test_are_taken_as_they_are(parted: Path) -> None:
    made = data_list(parted)
    assert counts(made) == [4, 1, 2, 1]
    for section, part in zip(SECTIONS, ("train", "train", "val", "test"), strict=True):
        assert all(path.startswith(f"{part}/images/") for path in images(made[section]))


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_other_names_of_val(parted: Path, name: str) -> None:
    (parted / "val").rename(parted / name)
    assert images(data_list(parted)["validation"])[0].startswith(f"{name}/images/")


def test_without_val_it_is_drawn_from_train(parted: Path) -> None:
    (parted / "val").rename(parted / "elsewhere")
    made = data_list(parted, validation_fraction=0.5)
    assert counts(made) == [2, 1, 2, 1]
    assert all(path.startswith("train/") for path in images(made["validation"]))


@pytest.mark.parametrize("end", ["_label", "_labels", "_gt", "_seg", "_mask"])
def test_a_label_may_have_an_end(folder: Path, end: str) -> None:
    plain = data_list(folder)
    for path in list((folder / "labels").iterdir()):
        path.rename(path.with_name(f"{path.stem}{end}.png"))
    made = data_list(folder)
    assert images(made["labeled"]) == images(plain["labeled"])
    assert all(Path(item["label"]).stem == Path(item["image"]).stem + end for item in made["labeled"])


def test_names_match_whatever_the_form_of_their_accents(tmp_path: Path) -> None:
    root = write_folder(tmp_path, labeled=2, unlabeled=0)
    for kind, form in (("images", "NFC"), ("labels", "NFD")):
        path = root / kind / "scene 00.png"
        path.rename(path.with_name(unicodedata.normalize(form, "Zürich é 画.png")))
    assert counts(data_list(root)) == [1, 0, 1, 0]


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".tif", ".bmp"])
def test_formats_of_images(tmp_path: Path, suffix: str) -> None:
    made = data_list(write_folder(tmp_path, suffix=suffix))
    assert counts(made) == [5, 3, 1, 0]
    assert made["channels"] == 3


def test_what_file_managers_leave_is_passed_over(folder: Path) -> None:
    plain = data_list(folder)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._scene 00.png"):
        (folder / "images" / name).touch()
        (folder / "labels" / name).touch()
    (folder / "images" / ".ipynb_checkpoints").mkdir()
    assert data_list(folder) == plain


@pytest.mark.parametrize("seed", [0, 1])
def test_fractions_are_nested_and_seeded(folder: Path, seed: int) -> None:
    everything = data_list(folder, seed=seed)
    assert everything == data_list(folder, seed=seed)
    for number in (1, 3):
        cut = data_list(folder, labeled_images=number, seed=seed)
        assert cut["labeled"] == everything["labeled"][:number]
        assert images(cut["labeled"] + cut["unlabeled"]) == images(everything["labeled"] + everything["unlabeled"])
        assert not any("label" in item for item in cut["unlabeled"])
        assert cut["validation"] == everything["validation"]


def test_another_seed_gives_another_order(parted: Path) -> None:
    orders = {tuple(images(data_list(parted, seed=seed)["labeled"])) for seed in range(5)}
    assert len(orders) > 1


# What is found


def test_what_is_found_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mask(folder / "labels" / "no such scene.png", np.zeros((4, 4)))
    made = data_list(folder)
    assert made["labels"] == {"0": "background", "1": "class 1", "2": "class 2"}
    assert (made["dimensions"], made["channels"], made["size"], made["spacing"]) == (2, 3, [40, 48], None)
    assert made["background"] is True
    printed = capsys.readouterr().out
    for line in (
        "5 labeled, 3 unlabeled, 1 validation, 0 test",
        "classes   3 (found): background, class 1, class 2",
        "channels  3 (found)",
        "size      40 x 48 pixels (found)",
        "1 labels in",
        "match no image: no such scene.png",
    ):
        assert line in printed


def test_what_is_given_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = data_list(folder, num_classes=4, image_channels=1, size=[16, 24], background=False)
    assert list(made["labels"].values()) == ["class 0", "class 1", "class 2", "class 3"]
    assert (made["channels"], made["size"], made["background"]) == (1, [16, 24], False)
    assert "channels  1 (given)" in capsys.readouterr().out


def test_the_number_of_classes_does_not_depend_on_the_labelled_images(folder: Path) -> None:
    write_mask(folder / "labels" / "scene 03.png", np.full((40, 48), 3))
    assert {len(data_list(folder, labeled_images=n)["labels"]) for n in (1, 2, 5)} == {4}


def test_void_values_are_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = data_list(folder, void_values=[2])
    assert made["labels"] == {"0": "background", "1": "class 1"}
    assert made["label_map"] == {"0": 0, "1": 1}
    assert "void" in capsys.readouterr().out
    assert data_list(folder, num_classes=3, void_values=[7])["label_map"] == {"0": 0, "1": 1, "2": 2}


def test_grey_images(tmp_path: Path) -> None:
    assert data_list(write_folder(tmp_path, channels=1))["channels"] == 1


@pytest.mark.parametrize(
    ("values", "void", "classes"),
    [([0, 1], (), 2), ([0, 1, 255], (), 2), ([1, 255], (), 2), (range(12), (11,), 11), ([0, 3, 5, 7, 8], (), 9)],
)
def test_the_largest_value_is_the_last_class(values: list[int], void: tuple[int, ...], classes: int) -> None:
    assert count_classes(values, void) == classes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 255], r"only the values 0, 255.*If 255 marks an object, save it as 1"),
        ([0], "only the values 0,"),
        ([255], "only the values 255,"),
        ([0, 85, 170], "hold the values 0, 85, 170: expected class indices"),
        ([0, 128, 255], "hold the values 0, 128, 255: expected class indices"),
    ],
)
def test_values_that_are_no_classes_are_refused(values: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        count_classes(values)


def test_a_set_of_0_and_255_is_refused_unless_its_classes_are_given(folder: Path) -> None:
    for path in (folder / "labels").iterdir():
        write_mask(path, np.where(np.asarray(Image.open(path)) > 0, 255, 0))
    with pytest.raises(InputError, match="say how many classes there are by --num_classes"):
        data_list(folder)
    assert len(data_list(folder, num_classes=2)["labels"]) == 2


@pytest.mark.parametrize(
    ("sizes", "size"),
    [
        ([(40, 48)], [40, 48]),
        ([(360, 480)] * 3, [192, 256]),
        ([(375, 500), (500, 375), (375, 500)], [192, 256]),
        ([(41, 50), (45, 51)], [44, 52]),
        ([(3, 1000)], [8, 256]),
    ],
)
def test_a_size_is_the_median_scaled_and_rounded(sizes: list[tuple[int, int]], size: list[int]) -> None:
    assert median_size(sizes) == size


# Lists


def test_a_written_list_reads_no_image_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = data_list(folder, labeled_images=2)
    path = written(folder, made)

    def refuse(_: object) -> None:
        raise AssertionError("a file was read")

    monkeypatch.setattr("scripts.data.folder_facts.image_header", refuse)
    monkeypatch.setattr("scripts.data.folder_facts.read_mask", refuse)
    assert data_list(folder, path) == made
    assert counts(data_list(folder, path, labeled_images=1)) == [1, 7, 1, 0]


def test_names_colours_and_structures_come_from_a_list(folder: Path) -> None:
    made = data_list(folder)
    known = {
        "labels": {"0": "ground", "1": "cell", "2": "nucleus"},
        "colors": {"1": [255, 0, 0]},
        "structures": {"whole cell": 1},
        "background": False,
        "licence": "CC0",
    }
    sections = {section: made[section] for section in SECTIONS}
    taken = data_list(folder, written(folder, sections | known))
    assert taken == made | known | {"name": "my list", "description": "my list.json"}


def test_the_number_of_classes_must_fit_the_list(folder: Path) -> None:
    path = written(folder, data_list(folder))
    with pytest.raises(InputError, match=r"--num_classes 4 contradicts the data list, whose 'labels' name 3 classes"):
        data_list(folder, path, num_classes=4)


def test_classes_follow_a_lists_map(folder: Path) -> None:
    made = data_list(folder)
    content = {section: made[section] for section in SECTIONS} | {"label_map": {"1": 0, "2": 1, "7": 3}}
    assert len(data_list(folder, written(folder, content))["labels"]) == 4
    assert data_list(folder, written(folder, content), void_values=[7])["label_map"] == {"1": 0, "2": 1}


def test_a_list_naming_a_missing_file_is_refused(folder: Path) -> None:
    made = data_list(folder)
    (folder / made["unlabeled"][1]["image"]).unlink()
    with pytest.raises(InputError, match=r"names images/scene 07\.png, not there"):
        data_list(folder, written(folder, made))


def test_a_list_naming_an_image_without_extension_is_refused(folder: Path) -> None:
    made = data_list(folder)
    (folder / "images" / "scene").touch()
    made["unlabeled"].append({"image": "images/scene"})
    with pytest.raises(InputError, match="images/scene is an image without extension"):
        data_list(folder, written(folder, made))


# What is wrong


def two_of_one_stem(root: Path) -> None:
    write_image(root / "images" / "scene 01.jpg", np.zeros((40, 48, 3), np.uint8))


def two_labels(root: Path) -> None:
    write_mask(root / "labels" / "scene 01_gt.png", np.zeros((40, 48)))


def without_extension(root: Path) -> None:
    (root / "images" / "scene 01.png").rename(root / "images" / "scene 01")


def no_image(root: Path) -> None:
    (root / "images" / "notes.docx").touch()


def a_folder_inside(root: Path) -> None:
    (root / "images" / "patient 1").mkdir()


def grey_among_colour(root: Path) -> None:
    write_image(root / "images" / "scene 01.png", np.zeros((40, 48), np.uint8))


def sixteen_bit_among_colour(root: Path) -> None:
    write_image(root / "images" / "scene 01.png", np.zeros((40, 48), np.uint16))


def a_volume_among_images(root: Path) -> None:
    write_volume(root / "images" / "scan.nii.gz", np.zeros((4, 4, 3), np.int16))


def a_mask_in_colours(root: Path) -> None:
    Image.open(root / "labels" / "scene 01.png").convert("RGB").save(root / "labels" / "scene 01.png")


def a_jpeg_mask(root: Path) -> None:
    Image.open(root / "labels" / "scene 01.png").save(root / "labels" / "scene 01.jpg")
    (root / "labels" / "scene 01.png").unlink()


def a_truncated_image(root: Path) -> None:
    path = root / "images" / "scene 01.png"
    path.write_bytes(path.read_bytes()[:20])


def no_labels(root: Path) -> None:
    (root / "labels").rename(root / "masks")


def labels_of_other_names(root: Path) -> None:
    for number, path in enumerate(sorted((root / "labels").iterdir())):
        path.rename(path.with_name(f"{number}.png"))


def no_images(root: Path) -> None:
    for path in (root / "images").iterdir():
        path.unlink()


def two_layouts(root: Path) -> None:
    write_folder(root / "train", labeled=1, unlabeled=0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (two_of_one_stem, r"scene 01\.jpg and scene 01\.png in .* have one name.*Rename or remove one"),
        (two_labels, r"scene 01\.png has two labels, scene 01\.png and scene 01_gt\.png"),
        (without_extension, "scene 01 is an image without extension, or no image"),
        (no_image, r"notes\.docx is of no format that is read here \(\.docx\)"),
        (a_folder_inside, "patient 1 is a folder: put the files into"),
        (grey_among_colour, r"scene 01\.png is grey, .* is RGB\. Give --image_channels 1"),
        (sixteen_bit_among_colour, r"scene 01\.png is grey, .* is RGB\. Give --image_channels 1"),
        (a_volume_among_images, r"2-D images and volumes are mixed: .*\.png is an image, .*scan\.nii\.gz a volume"),
        (a_mask_in_colours, r"scene 01\.png holds colours .*palette PNG was opened and saved as RGB"),
        (a_jpeg_mask, r"scene 01\.jpg is a JPEG, whose compression alters"),
        (a_truncated_image, r"scene 01\.png cannot be read as an image"),
        (no_labels, "has no labelled image: expected images/ and labels/"),
        (labels_of_other_names, r"no label in .* has the name of an image in .*0\.png and scene 00\.png"),
        (no_images, r"holds no image, expected \.png"),
        (two_layouts, "can be read in two ways"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=message):
        data_list(folder)


def test_a_mixture_of_grey_and_colour_passes_as_grey(folder: Path) -> None:
    grey_among_colour(folder)
    assert data_list(folder, image_channels=1)["channels"] == 1


def test_held_out_images_need_labels(parted: Path) -> None:
    next((parted / "val" / "labels").iterdir()).unlink()
    with pytest.raises(InputError, match=r"1 images for validation have no label, the first is val/images/scene 0"):
        data_list(parted)


@pytest.mark.parametrize("name", ["valid", "test"])
def test_two_folders_for_one_part_are_refused(parted: Path, name: str) -> None:
    write_folder(parted / {"valid": "valid", "test": "testing"}[name], labeled=1, unlabeled=0)
    with pytest.raises(InputError, match="can be read in two ways"):
        data_list(parted)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no images: expected images/ and labels/"):
        data_list(tmp_path)


def test_one_labelled_image_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="both sides need at least one"):
        data_list(write_folder(tmp_path, labeled=1))


@pytest.mark.parametrize("dataset_dir", [None, "", "absent"])
def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, dataset_dir: str | None) -> None:
    with pytest.raises(InputError, match="is not a folder, expected one with images/ and labels/"):
        data_list(str(tmp_path / dataset_dir) if dataset_dir else dataset_dir)


@pytest.mark.parametrize(
    "options",
    [
        {"num_classes": 1},
        {"num_classes": 256},
        {"num_classes": "3"},
        {"image_channels": 2},
        {"size": [40]},
        {"size": "40"},
        {"size": [40, 0]},
        {"validation_fraction": 1},
        {"background": "false"},
        {"void_values": 11},
        {"void_values": [256]},
        {"void_values": "11"},
        {"split": "paper"},
    ],
    ids=str,
)
def test_an_option_out_of_range_is_refused_and_named(folder: Path, options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(InputError, match=f"{name} must "):
        data_list(folder, **options)


# Volumes


def test_volumes_and_all_phases_of_unlabelled_studies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = data_list(write_volume_folder(tmp_path))
    assert counts(made) == [3, 2, 1, 0]
    assert made["unlabeled"] == [{"image": f"images/study{n}.nii.gz", "phase": "all"} for n in (4, 5)]
    assert not any("phase" in item for item in made["labeled"] + made["validation"])
    assert (made["dimensions"], made["channels"], len(made["labels"])) == (3, 1, 3)
    assert (made["spacing"], made["size"]) == ([2.0, 2.0], [24, 20])
    assert "spacing   2 x 2 mm (found)" in capsys.readouterr().out


def test_single_phases_have_no_phase(tmp_path: Path) -> None:
    assert not any("phase" in item for item in data_list(write_volume_folder(tmp_path, cine=False))["unlabeled"])


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd", ".nii"])
def test_other_formats_of_volumes(tmp_path: Path, suffix: str) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for number in range(3):
        volume = SimpleITK.GetImageFromArray(np.arange(3 * 20 * 24, dtype=np.int16).reshape(3, 20, 24) % 3)
        volume.SetSpacing((1.5, 1.25, 8.0))
        SimpleITK.WriteImage(volume, str(tmp_path / "images" / f"study {number}{suffix}"))
        if number < 2:
            SimpleITK.WriteImage(volume, str(tmp_path / "labels" / f"study {number}{suffix}"))
    made = data_list(tmp_path)
    assert counts(made) == [1, 1, 1, 0]
    assert (made["spacing"], made["size"], len(made["labels"])) == ([1.5, 1.25], [24, 20], 3)


@pytest.mark.parametrize("kind", ["4-D", "vector"])
def test_phases_of_other_formats(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.mha"
    if kind == "4-D":
        image = SimpleITK.JoinSeries([SimpleITK.Image(8, 6, 3, SimpleITK.sitkInt16)] * 5)
    else:
        image = SimpleITK.Image([8, 6, 3], SimpleITK.sitkVectorInt16, 5)
    SimpleITK.WriteImage(image, str(path))
    assert volume_header(path) == VolumeHeader(shape=(8, 6), phases=5, spacing=(1.0, 1.0))


def test_a_labelled_study_of_phases_is_refused(tmp_path: Path) -> None:
    root = write_volume_folder(tmp_path)
    write_volume(root / "images" / "study1.nii.gz", np.zeros((24, 20, 3, 2), np.int16))
    with pytest.raises(InputError, match=r"study1\.nii\.gz has 2 phases or channels and a label"):
        data_list(root)


def test_a_broken_volume_is_refused(tmp_path: Path) -> None:
    root = write_volume_folder(tmp_path)
    (root / "images" / "study1.nii.gz").write_bytes(b"not a volume")
    with pytest.raises(InputError, match=r"study1\.nii\.gz cannot be read"):
        data_list(root)


@pytest.mark.parametrize("value", [0.5, -1, 300])
def test_a_label_volume_that_holds_no_indices_is_refused(tmp_path: Path, value: float) -> None:
    root = write_volume_folder(tmp_path)
    write_volume(root / "labels" / "study1_gt.nii.gz", np.linspace(0, value, 24 * 20 * 3).reshape(24, 20, 3))
    with pytest.raises(InputError, match=r"study1_gt\.nii\.gz has label values from .*save it as class indices"):
        data_list(root)


def test_volumes_are_grey(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--image_channels must be 1 for volumes"):
        data_list(write_volume_folder(tmp_path), image_channels=3)


@pytest.mark.parametrize(
    ("options", "spacing", "size"),
    [
        ({}, [2.0, 2.0], [24, 20]),
        ({"spacing": [4.0, 4.0]}, [4.0, 4.0], [12, 12]),
        ({"size": [12, 12]}, [4.0, 4.0], [12, 12]),
        ({"size": [64, 32]}, [2.0, 2.0], [64, 32]),
        ({"spacing": [1.0, 1.0], "size": [8, 16]}, [1.0, 1.0], [8, 16]),
    ],
    ids=["found", "spacing given", "small size given", "large size given", "both given"],
)
def test_grid_of_volumes(tmp_path: Path, options: dict[str, Any], spacing: list[float], size: list[int]) -> None:
    made = data_list(write_volume_folder(tmp_path), **options)
    assert (made["spacing"], made["size"]) == (spacing, size)


def test_a_list_of_volumes_may_leave_the_grid_open(tmp_path: Path) -> None:
    made = data_list(write_volume_folder(tmp_path))
    open_list = {key: value for key, value in made.items() if key != "size"} | {"spacing": None}
    assert data_list(tmp_path, written(tmp_path, open_list)) == made


def test_a_grid_covers_the_largest_image_in_256_pixels() -> None:
    headers = [VolumeHeader((428, 512), 1, (1.4, 1.4)), VolumeHeader((216, 256), 1, (1.5, 1.5))] * 2
    spacing, size = covering_grid(headers, None, None)
    assert max(size) <= 256
    assert all(value % 4 == 0 for value in size)
    extents = (428 * 1.4, 512 * 1.4)
    for covered, extent in zip(np.multiply(spacing, size), extents, strict=True):
        assert extent <= covered <= extent + 4 * max(spacing)


def test_a_grid_of_microscopic_voxels() -> None:
    spacing, size = covering_grid([VolumeHeader((64, 64), 1, (0.00021, 0.00021))], None, None)
    assert spacing == pytest.approx([0.00021, 0.00021])
    assert size == [64, 64]


@pytest.mark.parametrize("spacing", [[1.5], [1.5, 0], 1.5, "1.5"])
def test_a_wrong_spacing_is_refused(tmp_path: Path, spacing: Any) -> None:
    with pytest.raises(InputError, match="spacing must be two positive numbers of mm"):
        data_list(write_volume_folder(tmp_path), spacing=spacing)


def test_a_voxel_size_that_is_no_number_is_refused(tmp_path: Path) -> None:
    root = write_volume_folder(tmp_path)
    path = root / "images" / "study1.nii.gz"
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[80:84] = struct.pack("<f", np.nan)  # pixdim[1]
    path.write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(InputError, match=r"study1\.nii\.gz has the in-plane spacing"):
        data_list(root)


def test_real_files(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options: dict[str, Any] = {"num_classes": 11, "void_values": [11], "background": False}
    made = data_list(real_data / "camvid", **options)
    assert counts(made) == [24, 0, 8, 0]
    assert (made["channels"], made["size"], len(made["labels"])) == (3, [192, 256], 11)
    assert made["label_map"] == {str(value): value for value in range(11)}
    cut = data_list(real_data / "camvid", labeled_fraction=0.25, void_values=[11])
    assert counts(cut) == [6, 18, 8, 0]
    assert len(cut["labels"]) == 11
    assert "channels  3 (found)" in capsys.readouterr().out
