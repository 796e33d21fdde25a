"""Learning curves, scores against labels, and the bars of the ablation, drawn so that equal cells give equal bytes."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scripts.experiments.cells import (
    ABLATIONS,
    FULL,
    HUNG,
    NATIVE,
    OURS,
    PARTIAL,
    TRAINING_SIZE,
    Cell,
    Group,
    arm_order,
)
from scripts.experiments.published import published_rows, published_value
from scripts.experiments.tables import Results
from scripts.files import write_atomically
from scripts.palette import COLORS

_, SKY, ORANGE, GREEN, YELLOW, BLUE, VERMILION, PURPLE, _ = COLORS
STYLES: Mapping[str, Mapping[str, Any]] = {
    FULL: {"color": "#333333", "linestyle": "--", "marker": "s"},
    PARTIAL: {"color": BLUE, "linestyle": "-", "marker": "o"},
    HUNG: {"color": GREEN, "linestyle": "-.", "marker": "^"},
    OURS: {"color": VERMILION, "linestyle": "-", "marker": "D"},
    **{
        arm: {"color": color, "linestyle": ":", "marker": marker}
        for arm, color, marker in zip(ABLATIONS, (SKY, ORANGE, PURPLE, "#B3A100"), "v<>P", strict=True)
    },
}
"""By arm: colours of Okabe and Ito's set (its yellow darker, to be seen as a line), and a shape each."""

_OTHER_ARM: Mapping[str, Any] = {"color": "#888888", "linestyle": ":", "marker": "x"}
_RC: Any = {"svg.hashsalt": "experiments", "svg.fonttype": "path", "axes.spines.top": False, "axes.spines.right": False}
_DPI = 130


def save_figure(
    draw: Callable[[], Figure | None], stem: Path, suffixes: Sequence[str] = (".svg", ".png")
) -> tuple[Path, ...]:
    """Write what ``draw`` makes as ``stem`` with each suffix, without date or version in the files.

    Returns:
        The files; none if ``draw`` returns None.

    Raises:
        InputError: a file that cannot be written.
    """
    metadata: dict[str, dict[str, None]] = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}
    written = []
    with matplotlib.rc_context(_RC):
        if (figure := draw()) is None:
            return ()
        for suffix in suffixes:
            options: dict[str, Any] = {"format": suffix.removeprefix("."), "dpi": _DPI, "metadata": metadata[suffix]}
            path = stem.with_name(stem.name + suffix)
            written.append(write_atomically(path, partial(_save, figure, options)))
    return tuple(written)


def learning_curves(results: Results, group: Group, percent: float) -> Figure | None:
    """The paper's mIoU over updates, an arm a line: mean over seeds in a band from the lowest to the highest.

    Arms at ``percent`` of the labels, and Full beside them. None if no cell has a curve.
    """
    metric = results.metric(group, "paper")
    arms: dict[str, list[Cell]] = {}
    for cell in results.of(group):
        if cell.curve and (cell.labeled_percent == percent or cell.arm == FULL):
            arms.setdefault(cell.arm, []).append(cell)
    if not arms:
        return None
    figure, axes = _new(f"{results.titles[group]}, {percent:g} % labelled: validation while training")
    for arm, cells in arms.items():
        style = _style(arm) | {"markevery": 0.1, "markersize": 4}
        frame = _curve_frame(cells, metric)
        if frame.empty:
            continue
        axes.plot(frame.index, frame["mean"], **style, label=f"{arm} ({len(cells)})")
        if len(cells) > 1:
            axes.fill_between(frame.index, frame["min"], frame["max"], color=style["color"], alpha=0.18, linewidth=0)
    axes.set_xlabel("updates")
    axes.set_ylabel(results.words(group, metric))
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    _legend(axes, "arm (seeds)")
    return figure


def label_fractions(results: Results, group: Group) -> Figure:
    """The paper's mIoU at training size over the percentage of labels: mean ± sd, the paper's numbers hollow."""
    metric = results.metric(group, "paper")
    size = TRAINING_SIZE if results.scores.has(metric, TRAINING_SIZE) else NATIVE
    figure, axes = _new(f"{results.titles[group]}: score by share of labels")
    ran = [row for row in results.rows(group) if row[0] not in ABLATIONS]
    paper = published_rows(group.dataset)
    for arm in sorted({arm for arm, _ in (*ran, *paper)}, key=arm_order):
        style = dict(_style(arm))
        points = [(p, results.scores.get(group, arm, p, metric, size)) for p in sorted(p for a, p in ran if a == arm)]
        known = [(p, found) for p, found in points if found is not None]
        if known:
            means, errors = [found[0] for _, found in known], [np.nan_to_num(found[1]) for _, found in known]
            axes.errorbar([p for p, _ in known], means, errors, **style, capsize=3, markersize=6, label=arm)
        published = [(p, published_value(group.dataset, arm, p, metric, size)) for p in sorted({p for _, p in paper})]
        hollow = [(p, value) for p, value in published if value is not None]
        if hollow:
            line = style | {"linewidth": 0.8, "alpha": 0.6, "markerfacecolor": "none", "markersize": 6}
            axes.plot(*zip(*hollow, strict=True), **line, label=None if known else f"{arm} (paper only)")
    axes.set_xlabel("labelled training images, %")
    axes.set_ylabel(results.words(group, metric))
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, 105)
    handles = [_hollow("hollow: the paper")] if paper else []
    _legend(axes, "mean ± sd over seeds", handles)
    return figure


def ablation_bars(results: Results, group: Group, percent: float) -> Figure | None:
    """The paper's mIoU at training size of Ours and of each ablation: mean ± sd, each seed a dot, the paper's hollow.

    None if no ablation ran at ``percent``.
    """
    metric = results.metric(group, "paper")
    size = TRAINING_SIZE if results.scores.has(metric, TRAINING_SIZE) else NATIVE
    cells = [cell for cell in results.of(group) if cell.labeled_percent == percent]
    if not any(cell.arm in ABLATIONS for cell in cells):
        return None
    figure, axes = _new(f"{results.titles[group]}, {percent:g} % labelled: ablation")
    arms = (OURS, *ABLATIONS)
    published = [published_value(group.dataset, arm, percent, metric, size) for arm in arms]
    for place, (arm, value) in enumerate(zip(arms, published, strict=True)):
        found = results.scores.get(group, arm, percent, metric, size)
        if found is not None:
            mean, sd, _ = found
            error = None if math.isnan(sd) else sd
            axes.bar(place, mean, yerr=error, width=0.6, color=_style(arm)["color"], alpha=0.75, capsize=4)
            dots = [cell.scores.get(size, {}).get(metric, math.nan) for cell in cells if cell.arm == arm]
            axes.plot([place + 0.15] * len(dots), dots, "o", color="black", markersize=3.5)
        if value is not None:
            axes.plot(place - 0.15, value, "s", color="black", markerfacecolor="none", markersize=6)
    axes.set_xticks(range(len(arms)), [arm.replace("w/o ", "w/o\n").replace("_", "\n") for arm in arms], fontsize=9)
    axes.set_ylabel(results.words(group, metric))
    axes.grid(False, axis="x")
    handles = [Line2D([], [], marker="o", color="black", linestyle="none", markersize=3.5, label="a seed")]
    handles += [_hollow("hollow: the paper")] if any(value is not None for value in published) else []
    _legend(axes, "bar: mean ± sd", handles)
    return figure


def _save(figure: Figure, options: Mapping[str, Any], path: Path) -> None:
    figure.savefig(path, **options)


def _curve_frame(cells: Sequence[Cell], metric: str) -> pd.DataFrame:
    """Mean, min and max by update, over the seeds; only updates at which each of them was validated."""
    points = [(point["update"], point.get(metric, math.nan)) for cell in cells for point in cell.curve]
    frame = pd.DataFrame(points, columns=["update", "value"]).dropna()
    table = frame.groupby("update")["value"].agg(["mean", "min", "max", "count"])
    return table[table["count"] == len(cells)]


def _new(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, 4.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11, loc="left")
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _style(arm: str) -> dict[str, Any]:
    return dict(STYLES.get(arm, _OTHER_ARM))


def _hollow(label: str) -> Line2D:
    return Line2D([], [], marker="s", color="black", linestyle="none", markerfacecolor="none", label=label)


def _legend(axes: Axes, title: str, further: Sequence[Line2D] = ()) -> None:
    handles, _ = axes.get_legend_handles_labels()
    axes.legend(
        handles=[*handles, *further],
        title=title,
        title_fontsize=8.5,
        fontsize=8.5,
        frameon=False,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
    )
