"""Pairs of cells of the semi-supervised benchmark."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from ssl_cells import write

from scripts.experiments import ssl_pairs
from scripts.experiments.ssl_pairs import pairs, table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, (dice, gain) in enumerate(((0.60, 0.04), (0.62, -0.01), (0.67, 0.06))):
        write(tmp_path / "new", "mean teacher", seed, dice)
        write(tmp_path / "old", "cycle teacher", seed, dice + gain)
    return tmp_path


def test_cells_of_two_folders_are_paired_by_patients_and_seed(root: Path) -> None:
    write(root / "old", "cycle teacher", 0, 0.8, count=7)
    found, left = pairs(root, "old/cycle teacher", "new/mean teacher")
    shown = table(found, left)
    rows = [dict(zip(shown.header, row, strict=True)) for row in shown.rows]
    assert [row[:5] for row in shown.rows[:3]] == [
        ("old/cycle teacher", "3", "0", "64.00", "+4.00"),
        ("old/cycle teacher", "3", "1", "61.00", "-1.00"),
        ("old/cycle teacher", "3", "2", "73.00", "+6.00"),
    ]
    assert [(row["1"], row["2"]) for row in rows] == [
        ("+2.0", "+4.0"),
        ("-0.5", "-1.0"),
        ("+3.0", "+6.0"),
        ("+1.5", "+3.0"),
    ]
    assert rows[0]["minutes"] == "4.0"
    gains = np.array([4.0, -1.0, 6.0])
    assert shown.rows[3][:5] == ("mean of 3", "-", "-", "-", f"+3.00 ± {gains.std(ddof=1):.2f}")
    half = stats.t.ppf(0.975, 2) * gains.std(ddof=1) / np.sqrt(3)
    assert shown.notes[0] == "Ahead: in Dice 2 of 3; after epoch 1 2, after epoch 2 2."
    assert shown.notes[1].startswith(f"95 % interval of the gain in Dice: {3 - half:+.2f} to {3 + half:+.2f} (")
    assert shown.notes[2:] == ("Not paired: old/cycle teacher, 7 patients, seed 0, which new/mean teacher has not.",)


@pytest.mark.parametrize(
    "other",
    [
        {"device": "two"},
        {"threads": 2},
        {"updates": 900},
        {"settings": {"labeled_patients": 3, "batch_size": 8, "seed": 3, "precision": "float32"}},
    ],
)
def test_cells_that_differ_in_more_than_the_arm_are_no_pair(other: dict[str, Any], root: Path) -> None:
    write(root / "one", "mean teacher", 3, 0.6)
    write(root / "two", "cycle teacher", 3, 0.7, **other)
    found, (why,) = pairs(root, "two/cycle teacher", "one/mean teacher")
    assert not found
    assert why.startswith("Not paired: two/cycle teacher, 3 patients, seed 3, ")


def test_with_one_component_cells_that_have_such_scores_are_paired(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root / "old", "cycle teacher", 1, 0.61, one_component=0.80)
    write(root / "new", "mean teacher", 1, 0.62, one_component=0.75)
    write(root / "old", "cycle teacher", 2, 0.73, one_component=0.90)
    write(root / "new", "mean teacher", 0, 0.60, one_component=0.70)
    command = ["--cells", str(root), "--pair", "old/cycle teacher", "new/mean teacher", "--one_component"]
    assert ssl_pairs.main(command) == 0
    said = capsys.readouterr().out
    assert "Gains pair by pair with one component of each class, and lead on validation in points" in said
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in said.splitlines() if "teacher |" in line]
    assert [row[:5] for row in rows] == [["old/cycle teacher", "3", "1", "80.00", "+5.00"]]
    assert [row[8:] for row in rows] == [["-0.5", "-1.0"]], "by epoch as the networks give them"
    for seed in (0, 2):
        assert f"seed {seed}, since it or that of new/mean teacher has no scores with one component." in said


@pytest.mark.parametrize(("further", "gain"), [([], "+4.00"), (["--one_component"], "+3.00")])
def test_of_unlabelled_patients_cells_that_have_such_scores_are_paired(
    further: list[str], gain: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root / "old", "cycle teacher", 1, 0.61, unlabeled=0.54, unlabeled_one_component=0.58)
    write(root / "new", "mean teacher", 1, 0.62, unlabeled=0.50, unlabeled_one_component=0.55)
    command = ["--cells", str(root), "--pair", "old/cycle teacher", "new/mean teacher", "--withheld", *further]
    assert ssl_pairs.main(command) == 0
    said = capsys.readouterr().out
    assert "Gains pair by pair on the unlabelled patients" in said
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in said.splitlines() if "teacher |" in line]
    assert [row[1:3] + row[4:5] for row in rows] == [["3", "1", gain]]
    assert "seed 0, since it or that of new/mean teacher has no scores of the unlabelled patients" in said


def test_of_other_unlabelled_patients_nothing_is_paired(root: Path) -> None:
    write(root / "old", "cycle teacher", 1, 0.61, unlabeled=0.54)
    write(root / "new", "mean teacher", 1, 0.62, unlabeled=0.50, tested=["patient050"])
    found, left = pairs(root, "old/cycle teacher", "new/mean teacher", withheld=True)
    assert not found
    assert any("seed 1, since it and that of" in why and "the same unlabelled patients" in why for why in left)


def test_one_pair_has_no_deviation(root: Path) -> None:
    found, _ = pairs(root, "old/cycle teacher", "new/mean teacher")
    shown = table(found[:1])
    assert shown.rows[1][4] == "+4.00"
    assert len(shown.notes) == 1


def test_the_command_joins_pairs_of_arms(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = ["--pair", "old/cycle teacher", "new/mean teacher"]
    assert ssl_pairs.main(["--cells", str(root), *pair, *pair]) == 0
    assert "| mean of 6 " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("cycle teacher", "--pair takes FOLDER/ARM twice"),
        ("old/magic", "old has no cell of 'magic'; there are cycle teacher."),
        ("none/cycle teacher", "holds no finished cell"),
    ],
)
def test_what_cannot_be_paired_is_said(
    first: str, message: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ssl_pairs.main(["--cells", str(root), "--pair", first, "new/mean teacher"]) == 2
    assert message in capsys.readouterr().err


def test_nothing_to_pair_is_an_error(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root / "seven", "supervised", 0, 0.6, count=7)
    assert ssl_pairs.main(["--cells", str(root), "--pair", "seven/supervised", "new/mean teacher"]) == 2
    assert "nothing can be paired. Not paired: seven/supervised, 7 patients" in capsys.readouterr().err


def test_structures_without_a_distance_leave_the_gain_in_distance_open(root: Path) -> None:
    path = root / "old" / "cycle teacher-3-0.json"
    cell = json.loads(path.read_text())
    cell["structures"]["mean"]["hd95_mm"] = None
    path.write_text(json.dumps(cell))
    found, _ = pairs(root, "old/cycle teacher", "new/mean teacher")
    assert table(found).rows[0][5:7] == ("-", "-")
