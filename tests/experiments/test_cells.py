"""Cells are read from anywhere below a folder, in one order, and a broken one is named."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.errors import InputError
from scripts.experiments.cells import Group, groups_of, read_cell, read_cells

Write = Callable[..., Path]


def test_a_cell_says_what_its_file_says(write_cell: Write) -> None:
    cell = read_cell(write_cell("Hung et al.", 20, 3, 0.25, class_iou={"sky": 0.5, "pole": None}))
    assert (cell.arm, cell.labeled_percent, cell.seed, cell.updates, cell.commit[:4]) == (
        "Hung et al.", 20.0, 3, 600, "0123",
    )  # fmt: skip
    assert cell.class_names == ("sky", "pole")
    assert cell.scores["training_size"]["iou_sky"] == 0.5
    assert math.isnan(cell.scores["native"]["iou_pole"])
    assert cell.scores["native"]["foreground_miou"] == pytest.approx(0.35)
    assert cell.curve[1] == {"epoch": 2, "update": 600, "miou": 0.25, "foreground_miou": 0.25, "mean_dice": 0.25}


def test_only_one_size_and_no_curve_or_run_are_allowed(write_cell: Write) -> None:
    path = write_cell(run_dir=None, curve=[], new_entry="of a later version")
    content = json.loads(path.read_text())
    del content["scores"]["training_size"], content["commit"]
    path.write_text(json.dumps(content))
    cell = read_cell(path)
    assert list(cell.scores) == ["native"]
    assert (cell.run_dir, cell.curve, cell.commit) == (None, (), "")


def test_order_is_of_data_set_grid_arm_percentage_and_seed(write_cell: Write, tmp_path: Path) -> None:
    for place, (dataset, arm, percent, seed) in enumerate(
        [
            ("tissue", "Full", 100, 0),
            ("ACDC", "w/o mask_cycle", 10, 0),
            ("ACDC", "other", 10, 0),
            ("ACDC", "Ours", 5, 0),
            ("ACDC", "Ours", 10, 1),
            ("ACDC", "Ours", 10, 0),
            ("ACDC", "Full", 100, 0),
            ("VOC", "Partial", 10, 0),
        ]
    ):
        write_cell(arm, percent, seed, dataset=dataset, file=f"{place}.json")
    cells = read_cells(tmp_path / "cells")
    assert [cell.file.stem for cell in cells if cell.file] == ["7", "6", "5", "4", "3", "1", "2", "0"]


def test_folders_below_are_read_and_hidden_files_are_not(write_cell: Write, tmp_path: Path) -> None:
    assert read_cells(tmp_path) == []
    write_cell(seed=0)
    write_cell(seed=1, grid="other/deep")
    (tmp_path / "cells" / ".ours.json.partial.json").write_text("{")
    (tmp_path / "cells" / ".claims").mkdir()
    (tmp_path / "cells" / ".claims" / "x.json").write_text("{")
    assert [cell.seed for cell in read_cells(tmp_path)] == [1, 0]


def test_a_data_set_in_two_grids_is_told_apart(write_cell: Write, tmp_path: Path) -> None:
    write_cell()
    write_cell(grid="large")
    write_cell(grid="large", dataset="VOC")
    titles = groups_of(read_cells(tmp_path))
    assert titles == {
        Group("VOC", "large"): "VOC",
        Group("ACDC", "large"): "ACDC (large)",
        Group("ACDC", "small"): "ACDC (small)",
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"updates": "many"}, "many"),
        ({"arm": ""}, "expected text for 'arm'"),
        ({"labeled_percent": 0}, "labeled_percent must be above 0"),
        ({"labeled_percent": 101}, "labeled_percent must be above 0"),
        ({"background": "false"}, "background must be true or false"),
        ({"scores": {}}, "expected scores of training_size and native, got none"),
        ({"scores": {"nativ": {}}}, "got nativ"),
        ({"scores": {"native": {"miou": 0.5}}}, "foreground_miou"),
        ({"class_iou": {"sky": 1.5}}, "iou_sky of training_size must be in"),
        ({"class_iou": {"sky": "0.5"}}, "expected a number or null, got '0.5'"),
        ({"class_iou": [0.5]}, "no cell"),
        ({"curve": [{"update": True}]}, "got True"),
        ({"scores": [1]}, "no cell"),
    ],
)
def test_a_broken_cell_is_refused(write_cell: Write, changes: dict[str, Any], said: str) -> None:
    path = write_cell(**changes)
    with pytest.raises(InputError, match=said) as caught:
        read_cell(path)
    assert str(path) in str(caught.value)
    assert "Run that cell again" in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '"cell"', "\udcff"])
def test_what_is_no_cell_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "cell.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"cell\.json"):
        read_cells(tmp_path)


def test_one_cell_in_two_files_is_refused(write_cell: Write, tmp_path: Path) -> None:
    write_cell(file="a.json")
    write_cell(file="b.json", cell="another name")
    with pytest.raises(InputError, match=r"a\.json and .*b\.json are of one cell") as caught:
        read_cells(tmp_path)
    assert "Ours, 10 % labelled, seed 0" in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there"):
        read_cells(tmp_path / "nowhere")
