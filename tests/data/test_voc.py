"""VOC in its official layout: the paper's split and the official one, nested labels, errors that help."""

import json
from pathlib import Path

import numpy as np
import pytest
from imagesets import write_voc
from PIL import Image

from scripts.data.image_files import read_mask
from scripts.data.voc import CLASS_NAMES, class_color, data_list
from scripts.errors import InputError

SECTIONS = ("labeled", "unlabeled", "validation", "test")


@pytest.fixture(scope="module")
def voc_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voc(tmp_path_factory.mktemp("my sets") / "VOC für alle")


@pytest.fixture
def own_voc(tmp_path: Path) -> Path:
    """A copy to spoil; its root is VOC2012."""
    return write_voc(tmp_path) / "VOCdevkit" / "VOC2012"


def counts(made: dict) -> list[int]:
    return [len(made[section]) for section in SECTIONS]


def names(items: list[dict]) -> list[str]:
    return [Path(item["image"]).stem for item in items]


def test_the_papers_split_pools_the_augmented_images_without_val(voc_dir: Path) -> None:
    made = data_list(voc_dir)
    assert counts(made) == [8, 0, 2, 0]
    assert sorted(names(made["labeled"] + made["validation"])) == [f"2007_{number:06d}" for number in range(10)]
    for item in made["labeled"] + made["validation"]:
        assert (voc_dir / item["image"]).is_file()
        assert item["label"] == item["image"].replace("JPEGImages", "SegmentationClassAug").replace(".jpg", ".png")


def test_the_official_split_is_train_aug_and_val_with_its_void_border(voc_dir: Path) -> None:
    made = data_list(voc_dir, "official")
    assert counts(made) == [10, 0, 3, 0]
    assert names(made["validation"]) == ["2007_000010", "2007_000011", "2007_000012"]
    assert {Path(item["label"]).parent.name for item in made["labeled"]} == {"SegmentationClassAug"}
    assert {Path(item["label"]).parent.name for item in made["validation"]} == {"SegmentationClass"}
    assert 255 in read_mask(voc_dir / made["validation"][0]["label"])


def test_the_official_split_without_its_list_takes_the_augmented_masks(own_voc: Path) -> None:
    listed = data_list(own_voc, "official")
    (own_voc / "ImageSets" / "Segmentation" / "trainaug.txt").unlink()
    assert data_list(own_voc, "official") == listed


def test_the_papers_numbers_on_a_set_of_full_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [f"2008_{number:06d}" for number in range(10582 + 1449)]
    for folder in ("JPEGImages", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(every[10582:]))
    there = {f"{name}{suffix}" for name in every for suffix in (".jpg", ".png")}
    monkeypatch.setattr("scripts.data.voc._names_in", lambda folder: there)
    assert counts(data_list(tmp_path)) == [8994, 0, 1588, 0]
    assert counts(data_list(tmp_path, labeled_fraction=0.1)) == [899, 8095, 1588, 0]


@pytest.mark.parametrize("place", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_paths_are_relative_to_the_folder_that_is_given(voc_dir: Path, place: str) -> None:
    root = voc_dir / place
    made = data_list(root)
    assert all((root / item[key]).is_file() for item in made["labeled"] for key in ("image", "label"))
    assert names(made["labeled"]) == names(data_list(voc_dir)["labeled"])


@pytest.mark.parametrize("split", ["paper", "official"])
def test_fractions_are_nested_and_seeded(voc_dir: Path, split: str) -> None:
    everything = data_list(voc_dir, split, seed=5)
    few, many = (data_list(voc_dir, split, labeled_fraction=fraction, seed=5) for fraction in (0.25, 0.5))
    assert 0 < len(few["labeled"]) < len(many["labeled"])
    for cut in (few, many):
        assert cut["labeled"] == everything["labeled"][: len(cut["labeled"])]
        assert names(cut["labeled"] + cut["unlabeled"]) == names(everything["labeled"])
        assert not any("label" in item for item in cut["unlabeled"])
        assert cut["validation"] == everything["validation"]
    assert data_list(voc_dir, split, labeled_images=4, seed=5) == data_list(voc_dir, split, labeled_images=4, seed=5)
    assert names(data_list(voc_dir, split, seed=6)["labeled"]) != names(everything["labeled"])


def test_classes_and_colours_are_those_of_the_development_kit(voc_dir: Path) -> None:
    made = data_list(voc_dir)
    assert len(made["labels"]) == len(CLASS_NAMES) == 21
    assert made["labels"]["15"] == "person"
    assert made["background"] is True
    assert "label_map" not in made
    # From the kit's documentation.
    known = {0: [0, 0, 0], 1: [128, 0, 0], 8: [64, 0, 0], 15: [192, 128, 128], 20: [0, 64, 128]}
    assert {index: made["colors"][str(index)] for index in known} == known
    assert class_color(255) == [224, 224, 192]


def test_a_data_list_is_taken_as_it_is(voc_dir: Path, tmp_path: Path) -> None:
    made = data_list(voc_dir, labeled_images=3)
    path = tmp_path / "list.json"
    path.write_text(json.dumps(made))
    assert data_list(voc_dir, path) == made
    assert names(data_list(voc_dir, str(path), labeled_images=2)["labeled"]) == names(made["labeled"][:2])


# What is wrong


@pytest.mark.parametrize(
    ("folder", "suffix", "message"),
    [
        ("JPEGImages", ".jpg", r"image .*2007_000003\.jpg is not there.*VOCtrainval"),
        ("SegmentationClassAug", ".png", r"mask .*2007_000003\.png is not there.*SegmentationClassAug\.zip"),
    ],
)
def test_a_listed_file_that_is_missing_is_named(own_voc: Path, folder: str, suffix: str, message: str) -> None:
    (own_voc / folder / f"2007_000003{suffix}").unlink()
    with pytest.raises(InputError, match=message):
        data_list(own_voc, "official")


def test_an_image_of_val_in_the_training_list_is_refused(own_voc: Path) -> None:
    with (own_voc / "ImageSets" / "Segmentation" / "trainaug.txt").open("a") as file:
        file.write("2007_000011\n")
    with pytest.raises(
        InputError, match=r"2007_000011\.jpg stands in the official split .* twice, in labeled and in validation"
    ):
        data_list(own_voc, "official")


@pytest.mark.parametrize("kept", [[], ["2007_000010.png"]], ids=["empty", "val only"])
def test_without_augmented_masks_the_remedy_is_said(own_voc: Path, kept: list[str]) -> None:
    for path in (own_voc / "SegmentationClassAug").iterdir():
        if path.name not in kept:
            path.unlink()
    with pytest.raises(InputError, match=r"holds no masks beyond those of val\.txt.*SegmentationClassAug\.zip"):
        data_list(own_voc)


def test_without_the_folder_of_augmented_masks_the_remedy_is_said(own_voc: Path) -> None:
    (own_voc / "SegmentationClassAug").rename(own_voc / "elsewhere")
    for split in ("paper", "official"):
        with pytest.raises(InputError, match=r"SegmentationClassAug cannot be read.*SegmentationClassAug\.zip"):
            data_list(own_voc, split)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"], ids=["absent", "empty", "binary"])
def test_an_image_list_that_cannot_be_used_is_refused(own_voc: Path, content: bytes | None) -> None:
    path = own_voc / "ImageSets" / "Segmentation" / "val.txt"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"the image list .*val\.txt (cannot be read|is empty)"):
        data_list(own_voc)


def test_a_folder_without_voc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no VOC 2012: looked for JPEGImages .*VOCtrainval"):
        data_list(tmp_path)
    with pytest.raises(InputError, match="no dataset_dir was given"):
        data_list(None)


def test_an_unknown_split_is_refused(voc_dir: Path) -> None:
    with pytest.raises(InputError, match=r"split must be 'paper', 'official' or the path"):
        data_list(voc_dir, "offical")


def test_an_augmented_mask_saved_as_rgb_is_refused_when_it_is_read(own_voc: Path) -> None:
    item = data_list(own_voc)["labeled"][0]
    path = own_voc / item["label"]
    Image.open(path).convert("RGB").save(path)
    with pytest.raises(InputError, match="palette PNG was opened and saved as RGB"):
        read_mask(path)


def test_real_files(real_data: Path) -> None:
    root = real_data / "voc"
    official, paper = data_list(root, "official", labeled_fraction=0.1), data_list(root, "paper")
    assert counts(official) == [8, 72, 30, 0]
    assert counts(paper) == [68, 0, 12, 0]
    values = {value for item in official["validation"] for value in np.unique(read_mask(root / item["label"])).tolist()}
    assert values <= {*range(21), 255}
    palette = Image.open(root / official["validation"][0]["label"]).getpalette()
    assert palette[:63] == [part for color in official["colors"].values() for part in color]


def test_a_number_of_patients_is_refused(voc_dir: Path) -> None:
    with pytest.raises(InputError, match="not counted by --labeled_patients, got 7: give --labeled_images"):
        data_list(voc_dir, labeled_patients=7)  # type: ignore[arg-type]
