"""Figures show what is in the cells, and equal cells give equal bytes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.experiments.cells import Cell, Group, read_cells
from scripts.experiments.figures import STYLES, ablation_bars, label_fractions, learning_curves, save_figure
from scripts.experiments.tables import Results

Make = Callable[..., list[Cell]]
ACDC = Group("ACDC", "small")


def axes_of(figure: Figure | None) -> Axes:
    assert figure is not None
    return figure.axes[0]


def lines(axes: Axes) -> dict[str, tuple[list[float], list[float]]]:
    return {str(line.get_label()): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def legend(axes: Axes) -> list[str]:
    found = axes.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def test_curves_are_means_in_a_band(make_cells: Make) -> None:
    results = Results(make_cells({"Ours": (0.2, 0.6), "Full": (0.8,)}))
    axes = axes_of(learning_curves(results, ACDC, 10))
    drawn = lines(axes)
    assert drawn["Ours (2)"] == ([300, 600], [pytest.approx(0.2), pytest.approx(0.4)])
    assert drawn["Full (1)"] == ([300, 600], [pytest.approx(0.4), pytest.approx(0.8)])
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (pytest.approx(0.1), pytest.approx(0.6))
    assert axes.get_ylabel() == "mIoU of 3 foreground classes"


def test_curves_keep_only_updates_that_each_seed_has(make_cells: Make) -> None:
    curve = [{"epoch": 1, "update": 300, "foreground_miou": 0.5}, {"epoch": 2, "update": 600, "foreground_miou": None}]
    cells = make_cells({"Ours": (0.2,)}, curve=curve) + make_cells({"Ours": (0.2, 0.6)})[1:]
    drawn = lines(axes_of(learning_curves(Results(cells), ACDC, 10)))
    assert drawn["Ours (2)"] == ([300], [pytest.approx(0.4)])


def test_without_curves_there_is_no_figure(make_cells: Make, tmp_path: Path) -> None:
    results = Results(make_cells({"Ours": (0.2,)}, curve=[]))
    assert learning_curves(results, ACDC, 10) is None
    assert save_figure(lambda: learning_curves(results, ACDC, 10), tmp_path / "none") == ()
    assert not list(tmp_path.glob("none*"))


def test_fractions_have_the_paper_hollow(make_cells: Make) -> None:
    cells = make_cells({"Ours": (0.2, 0.4), "Full": (0.8,)}) + make_cells({"Ours": (0.5,)}, labeled_percent=20)
    axes = axes_of(label_fractions(Results(cells), ACDC))
    points: dict[str, list[tuple[str, list[float]]]] = {"filled": [], "hollow": []}
    for line in axes.lines:
        if line.get_marker() in "sD^o":
            kind = "hollow" if line.get_markerfacecolor() == "none" else "filled"
            points[kind].append((str(line.get_marker()), [float(y) for y in line.get_ydata()]))
    assert points["filled"] == [("s", [pytest.approx(0.8)]), ("D", [pytest.approx(0.3), pytest.approx(0.5)])]
    assert points["hollow"] == [
        ("s", [0.8982]),
        ("^", [0.8063]),
        ("o", [0.8418, 0.8642, 0.8785, 0.8863]),
        ("D", [0.8463, 0.8688, 0.8804, 0.889]),
    ]
    assert set(legend(axes)) == {
        "Hung et al. (paper only)",
        "Partial (paper only)",
        "Full",
        "Ours",
        "hollow: the paper",
    }


def test_a_data_set_of_one_s_own_has_no_hollow_marker(make_cells: Make) -> None:
    results = Results(make_cells({"Ours": (0.2, 0.4), "my own": (0.5,)}, dataset="tissue"))
    axes = axes_of(label_fractions(results, results.groups[0]))
    assert legend(axes) == ["Ours", "my own"]


def test_bars_have_a_dot_a_seed_and_a_gap_for_what_did_not_run(make_cells: Make) -> None:
    cells = make_cells({"Ours": (0.2, 0.4), "w/o image_cycle": (0.5,)}, dataset="VOC", labeled_percent=20)
    results = Results(cells)
    axes = axes_of(ablation_bars(results, results.groups[0], 20))
    assert [(bar.get_x() + 0.3, bar.get_height()) for bar in axes.patches] == [
        (0, pytest.approx(0.3)), (2, pytest.approx(0.5)),
    ]  # fmt: skip
    dots = [list(line.get_ydata()) for line in axes.lines if line.get_marker() == "o"]
    assert dots == [[0.2, 0.4], [0.5]]
    hollow = [list(line.get_ydata()) for line in axes.lines if line.get_marker() == "s"]
    assert hollow == [[0.2981], [0.2627], [0.2733], [0.2614], [0.2543]]
    assert ablation_bars(results, results.groups[0], 10) is None


def test_equal_cells_give_equal_bytes(small_grid: Path, tmp_path: Path) -> None:
    written = []
    for name, cells in (("a", read_cells(small_grid)), ("b", read_cells(small_grid)[::-1])):
        results = Results(cells)
        written.append(save_figure(lambda results=results: learning_curves(results, ACDC, 10), tmp_path / name / "x"))
    assert [path.name for path in written[0]] == ["x.svg", "x.png"]
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert "<dc:date>" not in written[0][0].read_text(encoding="utf-8")


def test_arms_differ_in_colour_and_shape() -> None:
    assert len({str(style["color"]) for style in STYLES.values()}) == len(STYLES) == 8
    assert len({str(style["marker"]) for style in STYLES.values()}) == 8
    assert np.all([set(style) == {"color", "linestyle", "marker"} for style in STYLES.values()])
