"""Splits of patients: nested, reproducible, disjoint, and errors that help."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.data.split import PatientSplit, cut_labeled, random_split, read_split
from scripts.errors import InputError

NAMES = [f"patient{number:03d}" for number in range(1, 21)]
fractions = st.floats(min_value=0, max_value=1, exclude_min=True)


def training(split: PatientSplit) -> tuple[str, ...]:
    return split.labeled + split.unlabeled


# Drawing


def test_a_drawn_split_uses_each_patient_once_and_labels_all_training_patients() -> None:
    split = random_split(NAMES, 0.25, seed=0)
    assert len(split.validation) == 5
    assert split.unlabeled == split.test == ()
    assert sorted(split.labeled + split.validation) == NAMES


def test_the_same_seed_draws_the_same_split_whatever_the_order_of_the_names() -> None:
    assert random_split(NAMES, 0.25, seed=3) == random_split(NAMES[::-1], 0.25, seed=3)


def test_another_seed_draws_another_split() -> None:
    one, two = random_split(NAMES, 0.25, seed=3), random_split(NAMES, 0.25, seed=4)
    assert set(one.validation) != set(two.validation)
    assert one.labeled != two.labeled


@given(seed=st.integers(0, 2**32), fraction=st.floats(0.05, 0.6), count=st.integers(5, 20))
def test_groups_stay_on_one_side(seed: int, fraction: float, count: int) -> None:
    group = {"patient001", "patient003"}
    split = random_split(NAMES[:count], fraction, seed, together=(("patient001", "patient003"),))
    assert group <= set(split.labeled) or group <= set(split.validation)
    assert sorted(split.labeled + split.validation) == NAMES[:count]


def test_groups_land_on_either_side() -> None:
    draws = [random_split(NAMES, 0.5, seed, together=(("patient001", "patient003"),)) for seed in range(20)]
    assert {"patient001" in split.validation for split in draws} == {True, False}


def test_a_group_of_which_one_is_absent_is_no_group() -> None:
    split = random_split(NAMES[:4], 0.25, 0, together=(("patient001", "patient999"), ("patient998", "patient002")))
    assert sorted(split.labeled + split.validation) == NAMES[:4]


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_a_validation_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match=r"validation_fraction must lie in \(0, 1\)"):
        random_split(NAMES, fraction, 0)


@pytest.mark.parametrize(
    ("names", "together"), [([], ()), (NAMES[:1], ()), (NAMES[:2], ((NAMES[0], NAMES[1]),))], ids=len
)
def test_too_few_patients_to_part_are_refused(names: list[str], together: tuple) -> None:
    with pytest.raises(InputError, match="give more patients"):
        random_split(names, 0.25, 0, together)


# Labelling a part


@given(smaller=fractions, larger=fractions)
def test_fractions_are_nested(smaller: float, larger: float) -> None:
    smaller, larger = sorted((smaller, larger))
    split = random_split(NAMES, 0.25, seed=1)
    few, many = cut_labeled(split, smaller), cut_labeled(split, larger)
    assert 1 <= len(few.labeled) <= len(many.labeled)
    assert many.labeled[: len(few.labeled)] == few.labeled
    for cut in (few, many):
        assert training(cut) == split.labeled
        assert cut.validation == split.validation


@pytest.mark.parametrize(("fraction", "count"), [(0.001, 1), (0.1, 2), (0.2, 3), (0.5, 8), (1, 15), (1.0, 15)])
def test_a_fraction_of_fifteen_patients(fraction: float, count: int) -> None:
    assert len(cut_labeled(random_split(NAMES, 0.25, 0), labeled_fraction=fraction).labeled) == count


@pytest.mark.parametrize("count", [1, 7, 15])
def test_a_number_of_patients(count: int) -> None:
    split = random_split(NAMES, 0.25, 0)
    cut = cut_labeled(split, labeled_patients=count)
    assert cut.labeled == split.labeled[:count]
    assert cut.unlabeled == split.labeled[count:]


def test_a_split_that_is_cut_already_is_cut_anew_in_the_same_order() -> None:
    split = random_split(NAMES, 0.25, 0)
    assert cut_labeled(cut_labeled(split, labeled_patients=2), labeled_patients=9) == cut_labeled(split, None, 9)


def test_without_fraction_or_number_the_split_decides() -> None:
    split = PatientSplit(("a", "b"), ("c",), ("d",))
    assert cut_labeled(split) == split


@pytest.mark.parametrize("fraction", [0, -0.5, 1.01, 50, float("nan"), "half"])
def test_a_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match=r"labeled_fraction must lie in \(0, 1\].*0\.1 is ten per cent"):
        cut_labeled(random_split(NAMES, 0.25, 0), labeled_fraction=fraction)


@pytest.mark.parametrize("number", [0, -1, 16, 2.5, "seven"])
def test_a_number_that_is_not_there_is_refused(number: int) -> None:
    with pytest.raises(InputError, match="labeled_patients must be a whole number in 1 to 15"):
        cut_labeled(random_split(NAMES, 0.25, 0), labeled_patients=number)


def test_fraction_and_number_together_are_refused() -> None:
    with pytest.raises(InputError, match=r"both given.*set the other to null"):
        cut_labeled(random_split(NAMES, 0.25, 0), labeled_fraction=0.5, labeled_patients=3)


# The same patient twice


@pytest.mark.parametrize("section", ["labeled", "unlabeled", "validation", "test"])
def test_a_patient_on_both_sides_is_refused_and_named(section: str) -> None:
    sections = {"labeled": ("a",), "unlabeled": ("b",), "validation": ("c",), "test": ("d",)}
    other = "test" if section != "test" else "labeled"
    sections[section] += sections[other]
    with pytest.raises(InputError, match=f"patient {sections[other][0]} stands in the split twice") as caught:
        PatientSplit(**sections)
    assert section in str(caught.value)
    assert other in str(caught.value)


# Reading


def test_sections_of_names_are_read(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"labeled": ["a"], "unlabeled": ["b", "c"], "validation": ["d"], "description": "mine"}))
    assert read_split(path) == PatientSplit(("a",), ("b", "c"), ("d",), (), "mine")


def test_a_list_of_items_is_read_in_the_order_of_its_patients(tmp_path: Path) -> None:
    items = [{"image": f"{name}_{frame}.nii.gz", "patient": name} for name in "ba" for frame in (1, 9)]
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"labeled": items, "validation": [{"image": "c.nii.gz", "patient": "c"}]}))
    assert read_split(path) == PatientSplit(("b", "a"), (), ("c",), description="list.json")


def test_an_order_file_names_training_patients(tmp_path: Path) -> None:
    path = tmp_path / "order.txt"
    path.write_text("patient099\r\npatient038\n\npatient050\n")
    assert read_split(path) == PatientSplit(("patient099", "patient038", "patient050"), (), (), description="order.txt")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("broken.json", b'{"labeled": ["a"'),
        ("list.json", b'["a", "b"]'),
        ("text.json", b'{"labeled": "patient001"}'),
        ("numbers.json", b'{"labeled": [1, 2]}'),
        ("nameless.json", b'{"labeled": [{"image": "a.nii.gz"}]}'),
        ("other_names.json", b'{"training": ["a"], "validation": ["b"]}'),
        ("no_training.json", b'{"validation": ["b"]}'),
        ("binary.json", b"\x93\xff\x00"),
        ("binary.txt", b"\x93\xff\x00"),
        ("empty.txt", b""),
        ("empty.json", b""),
    ],
)
def test_a_file_that_is_no_split_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name} cannot be used .*expected JSON with the lists labeled, unlabeled"):
        read_split(tmp_path / name)


def test_a_split_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.json cannot be used \(FileNotFoundError"):
        read_split(tmp_path / "absent.json")


@pytest.mark.parametrize("content", [["a", "b", "a"], ["a"]], ids=["in one list", "in two lists"])
def test_a_file_with_a_patient_twice_is_refused(tmp_path: Path, content: list[str]) -> None:
    path = tmp_path / "twice.json"
    path.write_text(json.dumps({"labeled": content, "validation": ["a"] if len(content) == 1 else []}))
    with pytest.raises(InputError, match="patient a stands in the split twice"):
        read_split(path)
