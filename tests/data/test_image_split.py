"""Lists of images: cuts that are nested and reproducible, data-list files that are right or refused."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.data.image_split import (
    check_disjoint,
    check_split_name,
    cut_data_list,
    cut_labeled_items,
    random_cut,
    random_order,
    read_data_list,
)
from scripts.errors import InputError

NAMES = [f"image {number:02d}" for number in range(20)]
ITEMS = [{"image": f"{name}.png", "label": f"{name}_gt.png"} for name in NAMES]
fractions = st.floats(min_value=0, max_value=1, exclude_min=True)


def a_list() -> dict[str, Any]:
    return {
        "name": "mine",
        "labels": {"0": "ground", "1": "thing"},
        "labeled": deepcopy(ITEMS[:6]),
        "unlabeled": [{"image": "u0.png"}, {"image": "u1.png"}],
        "validation": deepcopy(ITEMS[10:12]),
    }


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "list.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


# Drawing


def test_an_order_depends_on_the_seed_alone() -> None:
    assert random_order(NAMES, 3) == random_order(NAMES[::-1], 3)
    assert sorted(random_order(NAMES, 3)) == NAMES
    assert random_order(NAMES, 3) != random_order(NAMES, 4)


def test_a_cut_uses_each_image_once() -> None:
    training, validation = random_cut(NAMES, 3, seed=0)
    assert len(validation) == 3
    assert sorted(training + validation) == NAMES
    assert (training, validation) == random_cut(NAMES[::-1], 3, seed=0)
    assert validation != random_cut(NAMES, 3, seed=1)[1]


@pytest.mark.parametrize(("count", "validation"), [(0, 0), (1, 1), (5, 5), (5, 0)])
def test_too_few_images_to_part_are_refused(count: int, validation: int) -> None:
    with pytest.raises(InputError, match="both sides need at least one"):
        random_cut(NAMES[:count], validation, 0)


# Labelling a part


@given(smaller=fractions, larger=fractions)
def test_fractions_are_nested(smaller: float, larger: float) -> None:
    smaller, larger = sorted((smaller, larger))
    few, others = cut_labeled_items(ITEMS, smaller)
    many, _ = cut_labeled_items(ITEMS, larger)
    assert 1 <= len(few) <= len(many)
    assert many[: len(few)] == few
    assert [item["image"] for item in few + others] == [item["image"] for item in ITEMS]
    assert not any("label" in item for item in others)


@pytest.mark.parametrize(("fraction", "count"), [(0.001, 1), (0.1, 2), (0.33, 7), (1, 20)])
def test_a_fraction_of_twenty_images(fraction: float, count: int) -> None:
    assert len(cut_labeled_items(ITEMS, fraction)[0]) == count


@pytest.mark.parametrize("count", [1, 7, 20])
def test_a_number_of_images(count: int) -> None:
    assert cut_labeled_items(ITEMS, labeled_images=count)[0] == ITEMS[:count]


def test_without_fraction_or_number_all_are_labelled() -> None:
    assert cut_labeled_items(ITEMS) == (ITEMS, [])


@pytest.mark.parametrize("fraction", [0, -0.5, 1.01, 50, float("nan"), "half", True])
def test_a_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match=r"labeled_fraction must lie in \(0, 1\].*0\.1 is ten per cent"):
        cut_labeled_items(ITEMS, fraction)


@pytest.mark.parametrize("number", [0, -1, 21, 2.5, "seven", True])
def test_a_number_that_is_not_there_is_refused(number: int) -> None:
    with pytest.raises(InputError, match="labeled_images must be a whole number in 1 to 20"):
        cut_labeled_items(ITEMS, labeled_images=number)


def test_fraction_and_number_together_are_refused() -> None:
    with pytest.raises(InputError, match=r"both given.*set the other to null"):
        cut_labeled_items(ITEMS, 0.5, 3)


# Cutting a data list


def test_a_list_is_cut_among_its_labels_only() -> None:
    cut = cut_data_list(a_list(), labeled_fraction=0.5)
    assert cut["labeled"] == ITEMS[:3]
    assert cut["unlabeled"] == [{"image": item["image"]} for item in ITEMS[3:6]] + a_list()["unlabeled"]
    assert cut["validation"] == ITEMS[10:12]
    assert cut["labels"] == a_list()["labels"]


def test_a_list_is_left_as_it_is_without_fraction_or_number() -> None:
    assert cut_data_list(a_list()) == a_list()


def test_a_fraction_of_a_list_that_was_cut_is_refused() -> None:
    cut = cut_data_list(a_list(), labeled_images=3)
    assert cut["labeled_of"] == len(a_list()["labeled"])
    assert cut_data_list(cut) == cut
    again = cut_data_list(cut, labeled_images=2)
    assert (len(again["labeled"]), again["labeled_of"]) == (2, cut["labeled_of"])
    with pytest.raises(InputError, match=r"was cut before: it knows 3 of \d+ labels, so 0.5 of them"):
        cut_data_list(cut, labeled_fraction=0.5)


def test_labels_held_back_in_a_list_can_be_reached_and_never_leave_it() -> None:
    held_back = a_list() | {"unlabeled": [{"image": "u0.png"}, {"image": "u1.png", "label": "u1_gt.png"}]}
    assert cut_data_list(held_back)["unlabeled"] == a_list()["unlabeled"]
    everything = cut_data_list(held_back, labeled_fraction=1)
    assert everything["labeled"] == [*ITEMS[:6], {"image": "u1.png", "label": "u1_gt.png"}]
    assert everything["unlabeled"] == [{"image": "u0.png"}]
    assert len(cut_data_list(held_back, labeled_images=7)["labeled"]) == 7
    with pytest.raises(InputError, match="in 1 to 7"):
        cut_data_list(held_back, labeled_images=8)


def test_a_list_of_patients_that_is_wrong_after_a_cut_is_left_out() -> None:
    with_patients = a_list() | {"patients": {"labeled": ["a"]}}
    assert "patients" not in cut_data_list(with_patients, labeled_images=2)
    assert cut_data_list(with_patients)["patients"] == {"labeled": ["a"]}


# Reading


def test_a_list_is_read_with_all_sections(tmp_path: Path) -> None:
    content = a_list() | {
        "colors": {"0": [0, 0, 0], "1": [255, 0, 9]},
        "label_map": {"7": 0, "9": 1, "4": 255},
        "background": False,
        "structures": {"thing": 1},
        "channels": 3,
        "dimensions": 2,
        "size": [40, 48],
        "spacing": None,
        "my own key": [1, 2],
    }
    expected = content | {"licence": "unknown", "description": "list.json", "test": []}
    assert read_data_list(written(tmp_path, content)) == expected


def test_a_list_may_name_files_with_unicode_and_spaces(tmp_path: Path) -> None:
    content = {
        "labeled": [{"image": "Zürich 1.png", "label": "画像/1.png"}],
        "validation": [{"image": "Zürich 2.png", "label": "画像/2.png"}],
    }
    (tmp_path / "画像").mkdir()
    for item in content["labeled"] + content["validation"]:
        for name in item.values():
            (tmp_path / name).touch()
    assert read_data_list(written(tmp_path, content), tmp_path)["labeled"] == content["labeled"]


@pytest.mark.parametrize("key", ["image", "label"])
@pytest.mark.parametrize("section", ["labeled", "validation"])
def test_a_list_naming_a_missing_file_is_refused(tmp_path: Path, section: str, key: str) -> None:
    content = a_list()
    for item in [*content["labeled"], *content["unlabeled"], *content["validation"]]:
        for name in item.values():
            (tmp_path / name).touch()
    path = written(tmp_path, content)
    assert read_data_list(path, tmp_path)["name"] == "mine"
    missing = content[section][-1][key]
    (tmp_path / missing).unlink()
    with pytest.raises(
        InputError, match=rf"names {missing}, not there in .*give the folder that the list was made for"
    ):
        read_data_list(path, tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"labeled": [', b"\x93\xff\x00"], ids=["empty", "broken", "binary"])
def test_a_file_that_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"list\.json cannot be read .*expected a JSON file with the sections labeled"):
        read_data_list(path)


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.json cannot be read \(FileNotFoundError"):
        read_data_list(tmp_path / "absent.json")


@pytest.mark.parametrize("content", [[], {"training": ITEMS, "validation": ITEMS[:1]}], ids=["a list", "other names"])
def test_json_without_sections_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(InputError, match=r"has no section 'labeled'.*rename them"):
        read_data_list(written(tmp_path, content))


@pytest.mark.parametrize("section", ["labeled", "validation"])
def test_an_empty_section_that_is_needed_is_refused(tmp_path: Path, section: str) -> None:
    with pytest.raises(InputError, match=f"has no item in '{section}'"):
        read_data_list(written(tmp_path, a_list() | {section: []}))


@pytest.mark.parametrize(
    ("section", "items", "message"),
    [
        ("labeled", {"image": "a"}, "section 'labeled' .* is no list"),
        ("unlabeled", ["u0.png"], "item 0 of section 'unlabeled' .* with a path 'image'"),
        ("labeled", [{"image": "a.png"}], "item 0 of section 'labeled' .*a path 'image' and a path 'label'"),
        ("test", [ITEMS[15], {"label": "a.png"}], "item 1 of section 'test' .*a path 'image' and a path 'label'"),
        ("validation", [{"image": 3, "label": "a.png"}], "item 0 of section 'validation'"),
        ("validation", [{"image": "", "label": "a.png"}], "item 0 of section 'validation'"),
        ("labeled", [ITEMS[0] | {"patient": 7}], "'patient' of item 0 of section 'labeled' .* is not text"),
        ("unlabeled", [{"image": "u.png", "label": None}], "'label' of item 0 of section 'unlabeled' .* is not text"),
    ],
)
def test_a_wrong_item_is_refused_and_named(tmp_path: Path, section: str, items: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_data_list(written(tmp_path, a_list() | {section: items}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 3),
        ("labels", ["ground", "thing"]),
        ("labels", {"0": "ground", "2": "thing"}),
        ("labels", {"0": "ground"}),
        ("labels", {"0": "ground", "1": 1}),
        ("colors", {"0": [0, 0]}),
        ("colors", {"0": [0, 0, 256]}),
        ("colors", {"ground": [0, 0, 0]}),
        ("label_map", {"seven": 0}),
        ("label_map", {"7": "road"}),
        ("label_map", {"300": 0}),
        ("label_map", {"7": 2}),
        ("background", "false"),
        ("structures", {"thing": "1"}),
        ("channels", 4),
        ("dimensions", 4),
        ("size", [40]),
        ("size", [40, 0]),
        ("spacing", [1.5, -1]),
        ("spacing", 1.5),
    ],
)
def test_a_wrong_key_is_refused_and_named(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"'{key}' of data list "):
        read_data_list(written(tmp_path, a_list() | {key: value}))


@pytest.mark.parametrize("again", ["image 03.png", "./image 03.png"])
@pytest.mark.parametrize("section", ["labeled", "unlabeled", "validation", "test"])
def test_an_image_that_stands_twice_is_refused_and_named(tmp_path: Path, section: str, again: str) -> None:
    content = a_list()
    content.setdefault(section, []).append(ITEMS[3] | {"image": again})
    with pytest.raises(InputError, match=rf"image 03\.png stands in .* twice, in labeled and in {section}"):
        read_data_list(written(tmp_path, content))


@pytest.mark.parametrize("section", ["validation", "test"])
def test_a_patient_on_both_sides_is_refused_and_named(section: str) -> None:
    content = a_list()
    content["unlabeled"][0]["patient"] = content["labeled"][0]["patient"] = "p7"
    check_disjoint(content, "a list")
    content[section] = [ITEMS[15] | {"patient": "p7"}]
    with pytest.raises(InputError, match=f"patient p7 stands in a list for training and for {section}"):
        check_disjoint(content, "a list")


def test_a_split_is_a_known_name_or_a_file() -> None:
    check_split_name("paper", ("paper", "official"))
    check_split_name("some/where.json", ("paper", "official"))
    with pytest.raises(InputError, match=r"'paper', 'official' or the path of a data list \(\.json\), got 'offical'"):
        check_split_name("offical", ("paper", "official"))
