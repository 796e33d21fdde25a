"""Means and deviations over seeds, worked by hand."""

import math
import random
from collections.abc import Callable

import pandas as pd
import pytest

from scripts.experiments.cells import Cell, Group
from scripts.experiments.summary import COLUMNS, Scores, metric_words, summarize

Make = Callable[..., list[Cell]]
ACDC = Group("ACDC", "small")


def test_mean_and_sample_deviation(make_cells: Make) -> None:
    scores = Scores(make_cells({"Ours": (0.1, 0.2, 0.6), "Partial": (0.4,)}))
    mean, sd, n = scores.get(ACDC, "Ours", 10, "foreground_miou", "training_size") or (0, 0, 0)
    assert mean == pytest.approx(0.3)
    assert sd == pytest.approx(math.sqrt((0.04 + 0.01 + 0.09) / 2))
    assert n == 3
    mean, sd, n = scores.get(ACDC, "Partial", 10, "foreground_miou", "native") or (0, 0, 0)
    assert mean == pytest.approx(0.5)
    assert math.isnan(sd)
    assert n == 1


def test_what_did_not_run_has_no_score(make_cells: Make) -> None:
    scores = Scores(make_cells({"Ours": (0.1,)}))
    assert scores.get(ACDC, "Ours", 20, "miou", "native") is None
    assert scores.get(Group("ACDC", "large"), "Ours", 10, "miou", "native") is None


def test_a_class_absent_in_a_seed_does_not_count_there(make_cells: Make) -> None:
    cells = make_cells({"Ours": (0.1,)}, class_iou={"sky": 0.5, "pole": None, "car": None})
    cells += [
        cell
        for cell in make_cells({"Ours": (0.1, 0.3)}, class_iou={"sky": 0.7, "pole": 0.25, "car": None})
        if cell.seed == 1
    ]
    scores = Scores(cells)
    mean, _, n = scores.get(ACDC, "Ours", 10, "iou_sky", "native") or (0, 0, 0)
    assert (mean, n) == (pytest.approx(0.6), 2)
    mean, _, n = scores.get(ACDC, "Ours", 10, "iou_pole", "native") or (0, 0, 0)
    assert (mean, n) == (0.25, 1)
    assert scores.get(ACDC, "Ours", 10, "iou_car", "native") is None
    assert scores.has("iou_pole", "native")
    assert not scores.has("iou_car", "native")


def test_the_tidy_table_joins_the_paper(make_cells: Make) -> None:
    frame = summarize(make_cells({"Ours": (0.1, 0.2), "w/o mask_cycle": (0.3,)}))
    assert list(frame.columns) == COLUMNS
    assert len(frame) == 2 * 2 * (3 + 4)
    joined = frame.dropna(subset="paper")
    assert [*joined[["arm", "metric", "size", "paper"]].itertuples(index=False, name=None)] == [
        ("Ours", "miou", "training_size", 0.8463),
        ("Ours", "foreground_miou", "training_size", 0.8463),
    ]


def test_the_order_of_the_cells_changes_nothing(make_cells: Make) -> None:
    cells = make_cells({"Ours": (0.1, 0.2, 0.7), "Partial": (0.3, 0.11), "Full": (0.8,)})
    expected = summarize(cells)
    for seed in range(5):
        shuffled = random.Random(seed).sample(cells, len(cells))
        pd.testing.assert_frame_equal(summarize(shuffled), expected, check_exact=True)


@pytest.mark.parametrize(
    ("metric", "background", "words"),
    [
        ("foreground_miou", True, "mIoU of 20 foreground classes"),
        ("miou", True, "mIoU of all 21 classes"),
        ("miou", False, "mIoU of all 21 classes"),
        ("foreground_miou", False, "mIoU of all 21 classes"),
        ("mean_foreground_dice", True, "mean foreground Dice"),
    ],
)
def test_a_mean_is_named_by_what_it_is_of(metric: str, background: bool, words: str) -> None:
    assert metric_words(metric, 21, background) == words
