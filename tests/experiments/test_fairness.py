"""What compared cells share, what differs, and what is missing."""

from collections.abc import Callable
from typing import Any

import pytest

from scripts.experiments.cells import Cell
from scripts.experiments.fairness import common_and_different, missing_cells, notes, settings_of
from scripts.experiments.published import published_rows

Make = Callable[..., list[Cell]]


def test_nested_settings_are_flat(make_cells: Make) -> None:
    (cell,) = make_cells({"Ours": (0.5,)}, settings={"weights": {"mask_cycle": 0}, "size": [96, 96], "split": "a.json"})
    assert settings_of(cell) == {"size": "[96, 96]", "split": "a.json", "weights#mask_cycle": "0"}


def test_what_the_name_says_is_no_difference(make_cells: Make) -> None:
    cells = make_cells({"Ours": (0.5, 0.6), "Full": (0.8,)})
    cells += make_cells({"w/o mask_cycle": (0.5,)}, settings={"filters": 16, "weights#mask_cycle": 0, "seed": 0})
    common, different = common_and_different(cells)
    assert common == {"filters": "16"}
    assert different == []
    assert notes(cells) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"settings": {"filters": 16, "learning_rate": 0.001}},
            "settings: learning_rate: not set (Ours), 0.001 (Full).",
        ),
        ({"settings": {}}, "settings: filters: 16 (Ours), not set (Full)."),
        ({"settings": {"filters": 16, "seed": 7}}, "settings: seed: not set (Ours), 7 (Full)."),
        ({"commit": "fedcba9876"}, "one commit: 0123456 (Ours), fedcba9 (Full)."),
        ({"commit": ""}, "one commit: 0123456 (Ours), unknown (Full)."),
        ({"bundle_version": "0.3.0"}, "one version of the bundle: 0.2.0 (Ours), 0.3.0 (Full)."),
        ({"updates": 599}, "one number of updates: 600 (Ours), 599 (Full)."),
    ],
)
def test_a_difference_is_told_with_whose_it_is(make_cells: Make, changes: dict[str, Any], said: str) -> None:
    (note,) = notes(make_cells({"Ours": (0.5, 0.6)}) + make_cells({"Full": (0.8, 0.7)}, **changes))
    assert note.endswith(said)


def test_cells_that_share_nothing_are_named(make_cells: Make) -> None:
    cells = make_cells({"Ours": (0.5, 0.6, 0.5), "Full": (0.8, 0.7)})
    late = make_cells({"Ours": (0.5,)}, commit="fedcba9876")
    (note,) = notes([*cells[1:], *late])
    assert note.endswith(
        "0123456 (ours-10-seed1, ours-10-seed2, full-100-seed0, full-100-seed1), fedcba9 (ours-10-seed0)."
    )


def test_missing_seeds_and_rows_are_told(make_cells: Make) -> None:
    cells = make_cells({"Ours": (0.5, 0.6, 0.5), "Partial": (0.3,)})
    seeds, rows = missing_cells(cells, published_rows)
    assert seeds == "ACDC: Partial, 10 %: seed 1, 2"
    assert rows.startswith("ACDC: of the paper's Table 1, no seed of Full 100 %, Hung et al. 20 %, Partial 50 %")
    assert "Ours 10 %" not in rows


def test_a_data_set_of_one_s_own_lacks_nothing(make_cells: Make) -> None:
    assert missing_cells(make_cells({"Ours": (0.5, 0.6)}, dataset="tissue"), published_rows) == []
