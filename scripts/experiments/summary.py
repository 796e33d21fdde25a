"""Means and standard deviations over seeds."""

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from scripts.experiments.cells import Cell, Group
from scripts.experiments.published import published_value

COLUMNS = ["dataset", "grid", "arm", "percent", "metric", "size", "mean", "sd", "n", "paper"]
_KEYS = ["dataset", "grid", "arm", "percent", "metric", "size"]


def summarize(cells: Iterable[Cell]) -> pd.DataFrame:
    """Average every score over the seeds, beside the paper's number.

    Args:
        cells: in any order.

    Returns:
        A row a score (``COLUMNS``): ``sd`` is the sample standard deviation (n - 1), NaN for one seed; ``n`` the number
        of seeds that have the score (a class that never occurs has none); ``paper`` NaN where the paper has no number.
        Ordered by ``Cell.order``, then as the scores stand in the cells.
    """
    ordered = sorted(cells, key=lambda cell: cell.order)
    rows = [
        (cell.dataset, cell.grid, cell.arm, cell.labeled_percent, metric, size, value)
        for cell in ordered
        for size, scores in cell.scores.items()
        for metric, value in scores.items()
    ]
    frame = pd.DataFrame(rows, columns=[*_KEYS, "value"])
    means = frame.groupby(_KEYS, sort=False)["value"].agg(mean="mean", sd="std", n="count").reset_index()
    published = [
        published_value(row.dataset, row.arm, row.percent, row.metric, row.size_)
        for row in means.rename(columns={"size": "size_"}).itertuples()
    ]
    return means.assign(paper=pd.Series(published, dtype=float))[COLUMNS]


class Scores:
    """The rows of ``summarize``, found by what they are of."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.frame = summarize(cells)
        values = zip(*(self.frame[name] for name in ("mean", "sd", "n")), strict=True)
        keys = self.frame[_KEYS].itertuples(index=False, name=None)
        self._found = dict(zip(keys, values, strict=True))

    def get(self, group: Group, arm: str, percent: float, metric: str, size: str) -> tuple[float, float, int] | None:
        """Mean, standard deviation (NaN for one seed) and number of seeds; None where no seed has the score."""
        mean, sd, n = self._found.get((group.dataset, group.grid, arm, percent, metric, size), (math.nan, math.nan, 0))
        return (float(mean), float(sd), int(n)) if n else None

    def has(self, metric: str, size: str) -> bool:
        """Whether any cell has this score."""
        chosen = (self.frame["metric"] == metric) & (self.frame["size"] == size) & (self.frame["n"] > 0)
        return bool(chosen.any())


def paper_metric(background: bool) -> str:
    """The paper's mean IoU: without the background where there is one (VOC), over every class else (Cityscapes)."""
    return "foreground_miou" if background else "miou"


def metric_words(metric: str, class_count: int, background: bool) -> str:
    """What ``metric`` is a mean over."""
    if metric == "mean_foreground_dice":
        return "mean foreground Dice"
    if metric == "foreground_miou" and background:
        return f"mIoU of {class_count - 1} foreground classes"
    return f"mIoU of all {class_count} classes"
