"""Cityscapes in its official layout: splits, label ids, and masks that are something else."""

import json
from pathlib import Path

import numpy as np
import pytest
from imagesets import train_ids, write_cityscapes, write_mask

from scripts.data.cityscapes import CLASSES, LABEL_MAP, check_label_ids, data_list
from scripts.data.image_files import read_mask
from scripts.errors import InputError

SECTIONS = ("labeled", "unlabeled", "validation", "test")


@pytest.fixture(scope="module")
def street_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cityscapes(tmp_path_factory.mktemp("my sets") / "Städte")


@pytest.fixture
def own_streets(tmp_path: Path) -> Path:
    """A copy to spoil."""
    return write_cityscapes(tmp_path)


def counts(made: dict) -> list[int]:
    return [len(made[section]) for section in SECTIONS]


def images(items: list[dict]) -> list[str]:
    return [item["image"] for item in items]


def test_the_official_split_is_train_and_val(street_dir: Path) -> None:
    made = data_list(street_dir, "official")
    assert counts(made) == [5, 0, 2, 0]
    assert all(path.startswith("leftImg8bit/train/") for path in images(made["labeled"]))
    assert all(path.startswith("leftImg8bit/val/") for path in images(made["validation"]))
    for item in made["labeled"] + made["validation"]:
        assert (street_dir / item["image"]).is_file()
        assert (street_dir / item["label"]).is_file()
        assert item["label"].endswith("_gtFine_labelIds.png")


def test_the_papers_split_pools_both(street_dir: Path) -> None:
    made = data_list(street_dir)
    assert counts(made) == [6, 0, 1, 0]
    official = data_list(street_dir, "official")
    pooled, every = (sorted(images(part["labeled"] + part["validation"])) for part in (made, official))
    assert pooled == every


def test_the_papers_numbers_on_a_set_of_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_items(_: Path, part: str) -> dict[str, dict]:
        names = [f"{part}_{index:06d}" for index in range({"train": 2975, "val": 500}[part])]
        return {name: {"image": f"{name}.png", "label": f"{name}_ids.png"} for name in names}

    monkeypatch.setattr("scripts.data.cityscapes._find_items", find_items)
    assert counts(data_list("anywhere")) == [2953, 0, 522, 0]
    assert counts(data_list("anywhere", "official", labeled_fraction=0.2)) == [595, 2380, 500, 0]


@pytest.mark.parametrize("split", ["paper", "official"])
def test_fractions_are_nested_and_seeded(street_dir: Path, split: str) -> None:
    everything = data_list(street_dir, split, seed=5)
    few, many = (data_list(street_dir, split, labeled_images=number, seed=5) for number in (1, 3))
    for cut in (few, many):
        assert cut["labeled"] == everything["labeled"][: len(cut["labeled"])]
        assert images(cut["labeled"] + cut["unlabeled"]) == images(everything["labeled"])
        assert not any("label" in item for item in cut["unlabeled"])
    assert data_list(street_dir, split, labeled_images=3, seed=5) == many
    assert images(data_list(street_dir, split, seed=6)["labeled"]) != images(everything["labeled"])


def test_nineteen_classes_by_the_official_table(street_dir: Path) -> None:
    made = data_list(street_dir)
    assert len(made["labels"]) == len(made["colors"]) == len(LABEL_MAP) == 19
    assert list(LABEL_MAP.values()) == list(range(19))
    assert made["background"] is False
    known = {"road": (7, 0), "wall": (12, 3), "sky": (23, 10), "train": (31, 16), "bicycle": (33, 18)}
    for name, (label_id, train_id) in known.items():
        assert made["label_map"][str(label_id)] == train_id
        assert made["labels"][str(train_id)] == name
    assert made["colors"]["13"] == [0, 0, 142]  # cars


def test_a_data_list_is_taken_as_it_is(street_dir: Path, tmp_path: Path) -> None:
    made = data_list(street_dir, labeled_images=3)
    path = tmp_path / "list.json"
    path.write_text(json.dumps(made))
    assert data_list(street_dir, path) == made


# What is wrong


def test_an_image_without_a_mask_is_named(own_streets: Path) -> None:
    mask = next((own_streets / "gtFine" / "train").rglob("*labelIds.png"))
    mask.unlink()
    with pytest.raises(InputError, match=rf"has no mask .*{mask.name}: expected one for every image"):
        data_list(own_streets)


@pytest.mark.parametrize("kind", ["labelTrainIds", "color"])
def test_masks_of_another_kind_are_named(own_streets: Path, kind: str) -> None:
    for path in (own_streets / "gtFine").rglob("*labelIds.png"):
        path.rename(path.with_name(path.name.replace("labelIds", kind)))
    with pytest.raises(InputError, match=rf"only .*_gtFine_{kind}\.png beside it: expected the labelIds files"):
        data_list(own_streets, "official")


def test_a_scene_in_train_and_val_is_refused(own_streets: Path) -> None:
    for kind in ("leftImg8bit", "gtFine"):
        folder = own_streets / kind
        source = next((folder / "train" / "aachen").glob("aachen_000000*"))
        target = folder / "val" / "aachen" / source.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(source.read_bytes())
    with pytest.raises(InputError, match="aachen_000000_000019 is in train and in val"):
        data_list(own_streets)


def test_a_folder_without_cityscapes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no images CITY/\*_leftImg8bit\.png.*leftImg8bit_trainvaltest\.zip"):
        data_list(tmp_path)
    with pytest.raises(InputError, match="no dataset_dir was given"):
        data_list(None)


def test_an_unknown_split_is_refused(street_dir: Path) -> None:
    with pytest.raises(InputError, match=r"split must be 'paper', 'official' or the path"):
        data_list(street_dir, "fine")


# Label ids and train ids


def test_train_ids_under_the_name_of_label_ids_are_refused(own_streets: Path) -> None:
    path = own_streets / data_list(own_streets)["labeled"][0]["label"]
    check_label_ids(np.unique(read_mask(path)).tolist(), path)
    write_mask(path, train_ids(read_mask(path)))
    with pytest.raises(InputError, match=r"classes with 255 for void .*labelTrainIds files.*Give the labelIds files"):
        check_label_ids(np.unique(read_mask(path)).tolist(), path)


@pytest.mark.parametrize(
    "values",
    [
        range(34),
        [entry.label_id for entry in CLASSES],
        [0, 1, 3, 4],
        [1, 3, 7, 8, 11, 17],
        [1, 3, 7, 23, 255],
        [255],
        [],
    ],
    ids=["all ids", "classes", "void only", "no sky", "an unknown plate", "all void", "nothing"],
)
def test_label_ids_pass(values: list[int]) -> None:
    check_label_ids(values, "a.png")


@pytest.mark.parametrize(
    ("label_map", "values"),
    [
        ({str(value): value for value in range(11)}, [0, 3, 10, 255]),
        ({"1": 0, "2": 1}, [0, 1, 255]),
        ({"0": 0, "255": 1}, [0, 1, 255]),
        ({"10": 0, "20": 1, "30": 2}, [10, 20, 255]),
        ({"10": 0, "20": 1, "30": 2}, [0, 255]),
    ],
    ids=["identity", "shifted by one", "255 is a class", "file values", "empty"],
)
def test_masks_of_other_maps_pass(label_map: dict[str, int], values: list[int]) -> None:
    check_label_ids(values, "a.png", label_map)


def test_masks_that_another_map_was_applied_to_are_refused() -> None:
    with pytest.raises(InputError, match="classes with 255 for void"):
        check_label_ids([0, 1, 2, 255], "a.png", {"10": 0, "20": 1, "30": 2})


def test_real_files(real_data: Path) -> None:
    root = real_data / "cityscapes"
    official, paper = data_list(root, "official"), data_list(root)
    assert counts(official) == counts(paper) == [4, 0, 1, 0]
    for item in official["labeled"] + official["validation"]:
        mask = read_mask(root / item["label"])
        check_label_ids(np.unique(mask).tolist(), item["label"])
        with pytest.raises(InputError, match="classes with 255 for void"):
            check_label_ids(np.unique(train_ids(mask)).tolist(), item["label"])
