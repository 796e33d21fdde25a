"""The paper's numbers are all there, and each is found by what it is of."""

import csv
from collections import Counter

import pytest

from scripts.experiments.cells import ARMS
from scripts.experiments.published import PAPER_TABLES, published_name, published_rows, published_value


def test_all_numbers_of_the_four_tables_are_shipped() -> None:
    with PAPER_TABLES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["table"] for row in rows) == {"1": 30, "2": 5, "3": 120, "4": 114}
    assert len(rows) == 269
    assert {row["arm"] for row in rows} == set(ARMS)
    assert all(0 < float(row["value"]) < 1 for row in rows)


@pytest.mark.parametrize(
    ("dataset", "arm", "percent", "metric", "expected"),
    [
        ("VOC", "Full", 100, "foreground_miou", 0.5543),
        ("PASCAL VOC 2012", "Ours", 20, "foreground_miou", 0.2981),
        ("VOC", "Full", 100, "miou", None),
        ("VOC", "w/o image_cycle", 20, "foreground_miou", 0.2733),
        ("VOC", "w/o image_cycle", 10, "foreground_miou", None),
        ("Cityscapes", "Hung et al.", 20, "miou", 0.349),
        ("Cityscapes", "Hung et al.", 20, "foreground_miou", None),
        ("ACDC", "Partial", 10, "miou", 0.8418),
        ("ACDC", "Partial", 10, "foreground_miou", 0.8418),
        ("ACDC", "Partial", 10, "mean_foreground_dice", None),
        ("VOC", "Ours", 30, "iou_tvmonitor", 0.5331),
        ("VOC", "Ours", 30, "iou_background", None),
        ("Cityscapes", "Partial", 10, "iou_traffic light", 0.1255),
        ("cityscapes", "Partial", 10, "iou_traffic_light", 0.1255),
        ("CamVid", "Partial", 10, "miou", None),
        ("vocal cords", "Partial", 10, "foreground_miou", None),
    ],
)
def test_a_number_stands_beside_its_own_measure(
    dataset: str, arm: str, percent: float, metric: str, expected: float | None
) -> None:
    assert published_value(dataset, arm, percent, metric, "training_size") == expected
    assert published_value(dataset, arm, percent, metric, "native") is None


def test_rows_of_table_1() -> None:
    rows = published_rows("VOC")
    assert rows[:3] == [("Full", 100.0), ("Hung et al.", 20.0), ("Partial", 50.0)]
    assert len(rows) == len(set(rows)) == 10
    assert published_rows("CamVid") == []
    assert published_name("CamVid") is None
