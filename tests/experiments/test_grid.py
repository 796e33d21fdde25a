"""Grids: which cells there are, how they nest, what is refused."""

import json
from pathlib import Path

import pytest

from scripts.errors import InputError
from scripts.experiments.grid import ARMS, GRIDS, Block, Grid, read_grid

ABLATED = ["w/o mask_cycle", "w/o image_cycle", "w/o mask_adversarial", "w/o image_adversarial"]


def test_the_papers_grid_has_the_papers_cells() -> None:
    cells = read_grid("paper").cells()
    kinds = {(cell.dataset, cell.arm, cell.labeled_percent) for cell in cells}
    for dataset in ("VOC", "Cityscapes", "ACDC"):
        assert {percent for d, arm, percent in kinds if (d, arm) == (dataset, "Full")} == {100}
        assert {percent for d, arm, percent in kinds if (d, arm) == (dataset, "Hung et al.")} == {20}
        for name in ("Partial", "Ours"):
            assert {percent for d, arm, percent in kinds if (d, arm) == (dataset, name)} == {10, 20, 30, 50}
    assert {arm for d, arm, percent in kinds if d == "VOC" and percent == 20} >= {*ABLATED}
    assert len(cells) == 3 * len(kinds), "three seeds each"


@pytest.mark.parametrize("path", sorted(GRIDS.glob("*.json")), ids=lambda path: path.stem)
def test_grids_that_are_shipped_can_be_read(path: Path) -> None:
    grid = read_grid(path.stem)
    assert grid.name == path.stem
    names = [cell.name for cell in grid.cells()]
    assert len(names) == len(set(names))
    assert [cell.seed for cell in grid.cells()] == sorted(cell.seed for cell in grid.cells())


def test_a_cell_says_what_its_run_is_told() -> None:
    grid = Grid("g", [Block(["VOC"], ["w/o mask_cycle"], [0.2], [3])], {"max_epochs": 7})
    (cell,) = grid.cells()
    assert cell.name == "voc-w_o_mask_cycle-20-seed3"
    assert cell.configs == ("configs/data_voc.json",)
    assert cell.settings == {"max_epochs": 7, "weights#mask_cycle": 0, "labeled_fraction": 0.2, "seed": 3}


def test_a_cell_of_two_blocks_is_one() -> None:
    block = Block(["ACDC"], ["Full", "Partial"], [0.1, 0.2], [0])
    assert len(Grid("g", [block, block]).cells()) == 3, "Full has one fraction"


def test_narrowing_adds_no_cell() -> None:
    grid = read_grid("paper")
    names = {cell.name for cell in grid.cells()}
    for choice in ({"data": ["Cityscapes"]}, {"arms": ["Hung et al."]}, {"arms": ["w/o mask_cycle"]}):
        narrowed = {cell.name for cell in grid.narrowed({}, **choice).cells()}
        assert narrowed
        assert narrowed < names
    with pytest.raises(InputError, match="grid acdc_small has no data set 'VOC'; it has ACDC"):
        read_grid("acdc_small").narrowed({}, data=["VOC"])


def test_narrowing() -> None:
    grid = read_grid("paper").narrowed({"filters": 8}, data=["ACDC"], arms=["Ours"], seeds=[5], fractions=None)
    assert {cell.name for cell in grid.cells()} == {f"acdc-ours-{percent}-seed5" for percent in (10, 20, 30, 50)}
    assert all(cell.settings["filters"] == 8 for cell in grid.cells())


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"data": ["MNIST"]}, "no data set 'MNIST'; there are ACDC"),
        ({"arms": ["ours"]}, "no arm 'ours'; there are Full, Partial"),
        ({"fractions": [10]}, r"fractions must lie in \(0, 1\], got \[10\]"),
        ({"seeds": ["0"]}, "seeds must be whole numbers"),
        ({"seeds": [-1]}, "seeds must be whole numbers from 0 on"),
        ({"seeds": []}, "has no cell"),
    ],
)
def test_what_is_no_grid_is_refused(block: dict, message: str) -> None:
    good = {"data": ["ACDC"], "arms": ["Ours"], "fractions": [0.1], "seeds": [0]}
    with pytest.raises(InputError, match=message):
        Grid("g", [Block(**good | block)])


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"blocks": [{"datas": []}]}', '{"blocks": [], "colour": 1}'])
def test_what_is_no_grid_file_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "grid.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError):
        read_grid(tmp_path / "grid.json")


def test_a_name_that_nobody_knows_lists_those_that_are_known() -> None:
    with pytest.raises(InputError, match="one of the names acdc_small, paper"):
        read_grid("papre")


def test_arms_have_the_names_of_the_published_tables() -> None:
    table = (GRIDS.parent / "paper_tables.csv").read_text(encoding="utf-8").splitlines()
    published = {line.split(",")[2] for line in table[1:]}
    assert published == set(ARMS)


def test_identity_is_plain_json() -> None:
    (cell, *_) = read_grid("acdc_small").cells()
    assert json.loads(json.dumps(cell.identity)) == cell.identity
