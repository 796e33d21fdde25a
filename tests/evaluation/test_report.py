"""Means over cases: which, of what, and what is left out."""

import json
import math

import pytest
import torch

from scripts.evaluation.report import CaseScores, plain, summarize, table
from scripts.evaluation.scores import ABSENT, FOUND, INVENTED, MISSED, StructureScores

NAMES = ("background", "right", "left")
NAN = math.nan


def structure(outcome: str, dice: float, distance: float) -> StructureScores:
    return StructureScores(outcome, dice, dice / 2, distance, *[distance / 4] * 4, truth_ml=10.0, predicted_ml=9.0)


@pytest.fixture
def cases() -> list[CaseScores]:
    confusions = [
        torch.tensor([[90, 1, 2], [3, 10, 0], [4, 0, 20]]),
        torch.tensor([[80, 0, 0], [10, 0, 0], [0, 2, 30]]),
        torch.tensor([[50, 5, 0], [0, 0, 0], [0, 0, 40]]),
    ]
    found = [
        ("p1", "ED", "p1_01.nii", [structure(FOUND, 0.8, 4.0), structure(FOUND, 0.9, 2.0)]),
        ("p1", "ES", "p1_10.nii", [structure(MISSED, 0.0, NAN), structure(FOUND, 0.6, 6.0)]),
        ("p2", "ED", "p2_01.nii", [structure(INVENTED, 0.0, NAN), structure(ABSENT, 1.0, 0.0)]),
    ]
    return [CaseScores(*case, confusion, confusion // 2) for case, confusion in zip(found, confusions, strict=True)]


def test_means_per_structure_leave_out_missing_distances_and_count_them(cases: list[CaseScores]) -> None:
    right, left = summarize(cases, NAMES)["all"]["structures"].values()
    assert right["dice"] == pytest.approx(0.8 / 3)
    assert right["hd95_mm"] == 4.0
    assert right["assd_mm"] == 1.0
    assert [right[outcome] for outcome in (FOUND, ABSENT, MISSED, INVENTED)] == [1, 0, 1, 1]
    assert left["dice"] == pytest.approx(2.5 / 3)
    assert left["dice_sd"] == pytest.approx(((0.9**2 + 0.6**2 + 1) / 3 - (2.5 / 3) ** 2) ** 0.5)
    assert left["hd95_mm"] == pytest.approx(8 / 3)
    assert [left[outcome] for outcome in (FOUND, ABSENT, MISSED, INVENTED)] == [2, 1, 0, 0]


def test_the_headline_is_the_mean_over_cases_and_structures(cases: list[CaseScores]) -> None:
    summary = summarize(cases, NAMES)
    assert summary["mean_foreground_dice"] == pytest.approx((0.85 + 0.3 + 0.5) / 3)
    assert summary["mean_foreground_dice"] == pytest.approx(sum(case.mean_dice for case in cases) / 3)
    assert summary["all"]["mean"]["dice_sd"] == pytest.approx(((0.85**2 + 0.3**2 + 0.5**2) / 3 - 0.55**2) ** 0.5)


def test_phases_are_apart(cases: list[CaseScores]) -> None:
    phases = summarize(cases, NAMES)["phases"]
    assert {name: group["cases"] for name, group in phases.items()} == {"ED": 2, "ES": 1}
    assert phases["ED"]["mean"]["dice"] == pytest.approx((0.85 + 0.5) / 2)
    assert phases["ES"]["mean"]["dice"] == pytest.approx(0.3)
    assert math.isnan(phases["ES"]["structures"]["right"]["hd95_mm"])


def test_data_set_iou_is_of_all_voxels_together(cases: list[CaseScores]) -> None:
    summary = summarize(cases, NAMES)
    # Sums: background 220 of 220 + 3 + 17 + 5, right 10 of 23 true and 18 predicted, left 90 of 96 and 92.
    expected = {"background": 220 / 245, "right": 10 / 31, "left": 90 / 98}
    assert summary["data_set_iou"] == pytest.approx(expected)
    assert summary["foreground_miou"] == pytest.approx((10 / 31 + 90 / 98) / 2)
    assert summary["miou"] == pytest.approx(sum(expected.values()) / 3)


def test_wrong_voxels_are_counted_by_kind_with_those_at_borders(cases: list[CaseScores]) -> None:
    # Interior, the halves rounded down case by case: right for background 1 + 5 + 0 of 3 + 10 + 0.
    kinds = [
        (error["truth"], error["prediction"], error["voxels"], error["at_border"])
        for error in summarize(cases, NAMES)["errors"]
    ]
    assert kinds == [
        ("right", "background", 13, 7),
        ("background", "right", 6, 4),
        ("left", "background", 4, 2),
        ("left", "right", 2, 1),
        ("background", "left", 2, 1),
    ]


def test_the_table_has_a_row_a_case_and_structure(cases: list[CaseScores]) -> None:
    frame = table(cases, NAMES)
    assert len(frame) == 6
    assert list(frame["label"]) == [1, 2] * 3
    assert list(frame["structure"]) == ["right", "left"] * 3
    assert list(frame["outcome"]) == [FOUND, FOUND, MISSED, FOUND, INVENTED, ABSENT]


def test_plain_content_is_strict_json(cases: list[CaseScores]) -> None:
    content = json.loads(json.dumps(plain(summarize(cases, NAMES)), allow_nan=False))
    assert content["cases"][2]["hd95_mm"] is None
    assert content["cases"][0]["hd95_mm"] == 4.0
    assert plain({1: (NAN, 2, "x", True)}) == {"1": [None, 2, "x", True]}
