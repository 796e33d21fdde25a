"""Bland-Altman plots and scatter plots of predicted against true quantities, pathology groups by colour and shape."""

from collections.abc import Mapping
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scripts.clinical.agreement_tables import COMPARED
from scripts.clinical.function import QUANTITIES
from scripts.files import write_atomically
from scripts.palette import COLORS

_, SKY, ORANGE, GREEN, _, BLUE, VERMILION, PURPLE, _ = COLORS
GROUP_COLORS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
GROUP_MARKERS = "osD^vP*X"
"""More colours and markers than groups; of different number, so that pairs repeat late."""
NO_GROUP: Mapping[str, Any] = {"color": "#555555", "marker": "o"}
SHORT = {
    "lv_edv_ml": "LV EDV",
    "lv_esv_ml": "LV ESV",
    "lv_ef_percent": "LV EF",
    "lv_mass_g": "LV mass",
    "rv_edv_ml": "RV EDV",
    "rv_esv_ml": "RV ESV",
    "rv_ef_percent": "RV EF",
}
"""Names of the quantities in narrow places."""
_RC: Any = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}
_DPI = 130


def write_figures(pairs: pd.DataFrame, statistics: Mapping[str, Mapping[str, float]], folder: Path) -> tuple[Path, ...]:
    """Write ``bland_altman.png`` and ``scatter.png``, a panel a quantity, without date or version in the files.

    Args:
        pairs: of ``agreement_tables.paired_values``.
        statistics: quantity to the entries of ``agreement_tables.Agreement``, over all pairs.
        folder: where to.

    Raises:
        InputError: a file that cannot be written.
    """
    written = []
    with matplotlib.rc_context(_RC):
        for name, panel in (("bland_altman", _bland_altman), ("scatter", _scatter)):
            figure = Figure(figsize=(13, 6.4), layout="constrained", facecolor="white")
            *panels, last = figure.subplots(2, 4).flat
            styles = group_styles(pairs)
            for axes, key in zip(panels, COMPARED, strict=True):
                panel(axes, pairs[pairs["quantity"] == key].dropna(), statistics[key], styles, QUANTITIES[key][1])
                axes.set_title(f"{SHORT[key]}, n = {statistics[key]['n']}", loc="left", fontsize=10)
                axes.grid(True, color="0.92", linewidth=0.8)
                axes.set_axisbelow(True)
            _legend(last, styles, LINES[name])
            write = partial(figure.savefig, format="png", dpi=_DPI, metadata={"Software": None})
            written.append(write_atomically(folder / f"{name}.png", write))
    return tuple(written)


def group_styles(pairs: pd.DataFrame) -> dict[str, Mapping[str, Any]]:
    """Colour and marker of each group, by name; "" (no group) comes last and is grey."""
    names = sorted(set(pairs["group"]) - {""})
    looks = zip(cycle(GROUP_COLORS), islice(cycle(GROUP_MARKERS), len(names)), strict=False)
    styles: dict[str, Mapping[str, Any]] = {
        name: {"color": color, "marker": marker} for name, (color, marker) in zip(names, looks, strict=False)
    }
    return styles | ({"": NO_GROUP} if "" in set(pairs["group"]) else {})


def _points(axes: Axes, rows: pd.DataFrame, x: Any, y: Any, styles: Mapping[str, Mapping[str, Any]]) -> None:
    for name, style in styles.items():
        chosen = (rows["group"] == name).to_numpy()
        axes.plot(np.asarray(x)[chosen], np.asarray(y)[chosen], **style, **POINT)


def _bland_altman(axes: Axes, rows: pd.DataFrame, row: Mapping[str, float], styles: Any, unit: str) -> None:
    """Difference over mean of both; dashed the bias, dotted the limits of agreement, each with its value."""
    _points(axes, rows, (rows["truth"] + rows["prediction"]) / 2, rows["difference"], styles)
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.margins(x=0.12, y=0.12)
    for key, style in (("bias", "--"), ("lower", ":"), ("upper", ":")):
        if np.isfinite(row[key]):
            axes.axhline(row[key], color="black", linewidth=1, linestyle=style)
            axes.annotate(
                f"{row[key]:+.1f}",
                (1, row[key]),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=8,
            )
    axes.set_xlabel(f"mean of truth and prediction ({unit})")
    axes.set_ylabel(f"prediction - truth ({unit})")


def _scatter(axes: Axes, rows: pd.DataFrame, row: Mapping[str, float], styles: Any, unit: str) -> None:
    """Prediction over truth with the line of identity, on equal axes."""
    _points(axes, rows, rows["truth"], rows["prediction"], styles)
    if len(rows):
        values = rows[["truth", "prediction"]].to_numpy()
        margin = 0.06 * float(np.ptp(values)) or 1.0
        ends = (float(values.min()) - margin, float(values.max()) + margin)
        axes.plot(ends, ends, color="0.6", linewidth=1, zorder=1)
        axes.set(xlim=ends, ylim=ends)
    if np.isfinite(row["correlation"]):
        axes.annotate(f"r = {row['correlation']:.3f}", (0.04, 0.94), xycoords="axes fraction", va="top")
    axes.set_aspect("equal", adjustable="box")
    axes.set_xlabel(f"truth ({unit})")
    axes.set_ylabel(f"prediction ({unit})")


POINT: Mapping[str, Any] = {"linestyle": "none", "markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.5}
LINES: Mapping[str, tuple[tuple[str, Any, str], ...]] = {
    "bland_altman": (("black", "--", "bias"), ("black", ":", "bias ± 1.96 sd"), ("0.6", "-", "no difference")),
    "scatter": (("0.6", "-", "prediction = truth"),),
}
"""Of the legend, by figure: colour, line style and what it is."""


def _legend(axes: Axes, styles: Mapping[str, Mapping[str, Any]], lines: tuple[tuple[str, Any, str], ...]) -> None:
    axes.axis("off")
    names = {name: name or ("no group" if len(styles) > 1 else "a patient") for name in styles}
    handles = [Line2D([], [], label=names[name], **style, **POINT) for name, style in styles.items()]
    handles += [Line2D([], [], color=color, linestyle=style, label=label) for color, style, label in lines]
    axes.legend(handles=handles, loc="center", frameon=False, fontsize=10)
