"""The page: its tables are tables, what has no value shows as such, and what limits the scores is said."""

from typing import Any

import pytest
import torch

from scripts.evaluation.page import LOWEST, markdown
from scripts.evaluation.report import CaseScores, summarize
from scripts.evaluation.scores import FOUND, MISSED, StructureScores

NAMES = ("background", "atrium")
NAN = float("nan")
CONFUSION, INTERIOR = torch.tensor([[5, 1], [3, 2]]), torch.tensor([[4, 0], [2, 1]])
CARD = {
    "network_def": {"_target_": "monai.networks.nets.BasicUNet", "in_channels": 1},
    "class_names": NAMES,
    "spacing": (1.5, 1.25),
    "size": (64, 32),
    "trained_on": "ACDC",
    "licence": "free",
    "scores": {"miou": 0.123456},
}


def page(phases: tuple[str, ...] = ("ED", "ES"), found: int = 1, **about: Any) -> str:
    """A case a phase, of one structure each: found in the first ``found``, then missed."""
    scores = [
        StructureScores(FOUND, 0.5, 0.4, 12.34, 2.345, 2.2, 4, 1, 10, 9),
        StructureScores(MISSED, 0.0, 0.0, *[NAN] * 5, 8, 0),
    ]
    cases = [
        CaseScores(f"p{place}", phase, f"{place}.nii", [scores[place >= found]], CONFUSION, INTERIOR)
        for place, phase in enumerate(phases)
    ]
    ranking = [{"case": case.title, "mean_dice": case.mean_dice, "dice": {"atrium": case.mean_dice}} for case in cases]
    told = {
        "data_set": "Hearts",
        "section": "validation",
        "split": "",
        "case_count": len(cases),
        "patients": [case.patient for case in cases],
        "patients_of_section": len(cases),
        "trained_patients": {"labeled": 3, "unlabeled": 4},
        "model": "model.pt",
        "card": CARD,
        "largest_component": False,
        "likelihood": 0,
        "pictures": {"worst": "p1 ES"},
        "ranking": ranking,
    }
    return markdown(summarize(cases, NAMES) | told | about)


def test_distances_are_means_over_the_found() -> None:
    assert "| atrium          | 0.250 ± 0.250 | 0.200 |      12.3 |      2.35 |      1 |        0 |" in page()


def test_what_has_no_distance_shows_none() -> None:
    text = page(found=0)
    assert "| atrium          | 0.000 ± 0.000 | 0.000 |         - |         - |      2 |        0 |" in text
    assert "nan" not in text.lower()


def test_wrong_voxels_are_listed_by_kind_the_most_frequent_first() -> None:
    lines = page().splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("| voxels that are wrong"))
    assert lines[start + 2 : start + 5] == [
        "| atrium taken for background |      6 |   75% |                 33% |",
        "| background taken for atrium |      2 |   25% |                100% |",
        "| all 2 kinds                 |      8 |  100% |                 50% |",
    ]


def test_without_an_error_there_is_no_table_of_them() -> None:
    assert "voxels that are wrong" not in page(errors=[])


def test_every_table_has_as_many_cells_in_each_row() -> None:
    blocks = [block for block in page().split("\n\n") if block.startswith("|")]
    assert len(blocks) == 5
    for block in blocks:
        lines = block.splitlines()
        assert len({line.count("|") for line in lines}) == 1
        assert len({len(line) for line in lines}) == 1


def test_one_phase_has_no_table_of_phases() -> None:
    assert "Dice by phase" not in page(phases=("ED",))
    assert "Dice by phase" in page()


def test_only_the_lowest_cases_are_listed() -> None:
    text = page(phases=tuple("abcdefgh"))
    assert f"lowest {LOWEST} of 8 cases" in text
    assert f"| p{LOWEST - 1} " in text
    assert f"| p{LOWEST} " not in text


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({}, "All 2 patients of the section."),
        ({"patients_of_section": 20}, "Only 2 of the section's 20 patients"),
        ({}, "chosen by its scores on this section"),
        ({}, "no component was removed"),
        ({"largest_component": True}, "Of each structure one connected component"),
        ({"likelihood": 0.5}, "its likelihood, to the power of 0.5"),
        ({}, "HD95 and ASSD and counted beside them"),
        ({}, "3 labelled and 4 unlabelled patients"),
        ({}, "BasicUNet (in_channels 1)"),
        ({}, "64 x 32 at 1.5 x 1.25 mm"),
        ({}, "miou 0.1235"),
        ({}, "![worst: p1 ES](worst.png)"),
    ],
)
def test_what_the_reader_must_know_is_said(about: dict[str, Any], said: str) -> None:
    assert said in page(**about)


def test_of_an_image_that_did_not_count_nothing_is_said() -> None:
    assert "likelihood" not in page()


def test_the_test_section_did_not_choose_the_model() -> None:
    assert "chosen by its scores" not in page(section="test")
