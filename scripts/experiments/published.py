"""What the paper reports: every number of its Tables 1 to 4, from ``paper_tables.csv``.

Mondal et al., "Revisiting CycleGAN for semi-supervised segmentation", arXiv 1908.11569.
"""

import csv
import re
from functools import cache
from pathlib import Path

from scripts.experiments.cells import ABLATIONS, TRAINING_SIZE

PAPER_TABLES = Path(__file__).with_name("paper_tables.csv")

CLASS_TABLES = {"VOC": "table_3", "Cityscapes": "table_4"}
"""The tables of class-wise IoU, by data set."""

_METRICS = {"VOC": ("foreground_miou",), "Cityscapes": ("miou",), "ACDC": ("foreground_miou", "miou")}
"""The mean that the paper's mIoU can be: for ACDC it cannot be told which, so the number stands beside both."""


@cache
def _values() -> dict[tuple[str, str, float, str], float]:
    with PAPER_TABLES.open(encoding="utf-8", newline="") as file:
        return {
            (row["dataset"], row["arm"], float(row["labeled_percent"]), _plain(row["quantity"])): float(row["value"])
            for row in csv.DictReader(file)
        }


def published_name(dataset: str) -> str | None:
    """The paper's name of a data set, by a word of ``dataset`` ("PASCAL VOC 2012" is "VOC"); None if not in the paper."""
    words = re.split(r"[^a-z0-9]+", dataset.lower())
    return next((name for name in _METRICS if name.lower() in words), None)


def published_value(dataset: str, arm: str, percent: float, metric: str, size: str) -> float | None:
    """The paper's number, or None where it has none: it measures at training size only.

    Args:
        dataset, arm: which. percent: of the labels, in (0, 100].
        metric: "miou", "foreground_miou" or "iou_<class>".
        size: "training_size" or "native".
    """
    name = published_name(dataset)
    if name is None or size != TRAINING_SIZE:
        return None
    if metric.startswith("iou_"):
        return _values().get((name, arm, float(percent), _plain(metric.removeprefix("iou_"))))
    return _values().get((name, arm, float(percent), _plain("mIoU"))) if metric in _METRICS[name] else None


def published_rows(dataset: str) -> list[tuple[str, float]]:
    """Arm and percentage of every mean IoU of ``dataset`` in the paper's Table 1, in its order."""
    name, miou = published_name(dataset), _plain("mIoU")
    return [(arm, p) for known, arm, p, what in _values() if (known, what) == (name, miou) and arm not in ABLATIONS]


def _plain(quantity: str) -> str:
    """Letters only, so that "traffic light" and "traffic_light" are one class."""
    return re.sub(r"[^a-z]", "", quantity.lower())
