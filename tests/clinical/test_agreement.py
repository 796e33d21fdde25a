"""Agreement with reference labels: numbers worked by hand, and the command on a tiny finished training."""

import csv
import json
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from scripts.clinical.agreement import FILES, check_phases, main, markdown, pathology_group, predicted_frames
from scripts.clinical.agreement_figures import NO_GROUP, group_styles, write_figures
from scripts.clinical.agreement_tables import (
    COMPARED,
    Frame,
    Overlap,
    agreement,
    agreement_table,
    overlap_table,
    overlaps,
    paired_values,
    summarize,
)
from scripts.clinical.structures import Structures
from scripts.errors import InputError
from scripts.labels import VOID
from scripts.model_card import ModelCard

ACDC = Structures(rv=1, myocardium=2, lv=3)
SPACING = (1.5, 2.0, 8.0)


def boxes(shift: tuple[int, int, int] = (0, 0, 0)) -> NDArray[np.uint8]:
    """Labels (24, 12, 6): a box of 4 x 4 x 2 voxels for each structure, all moved by ``shift``."""
    labels = np.zeros((24, 12, 6), np.uint8)
    for value, start in ((1, 2), (2, 9), (3, 16)):
        x, y, z = (first + by for first, by in zip((start, 3, 1), shift, strict=True))
        labels[x : x + 4, y : y + 4, z : z + 2] = value
    return labels


def frame(patient: str, phase: str, truth: tuple[float, ...], predicted: tuple[float, ...], group: str = "") -> Frame:
    """A frame with so many mL of RV, myocardium and LV."""
    names = ("rv", "myocardium", "lv")
    scores = {n: Overlap("found", 0.9, 5.0, t, p) for n, t, p in zip(names, truth, predicted, strict=True)}
    return Frame(patient, phase, group, scores)


# One frame


def test_identical_labels_agree_wholly() -> None:
    for overlap in overlaps(boxes(), boxes(), SPACING, ACDC).values():
        assert (overlap.outcome, overlap.dice, overlap.hausdorff_mm) == ("found", 1.0, 0.0)
        assert overlap.truth_ml == overlap.predicted_ml == pytest.approx(32 * 24 / 1000)


@pytest.mark.parametrize(
    ("shift", "dice", "distance"),
    [((1, 0, 0), 0.75, 1.5), ((0, 2, 0), 0.5, 4.0), ((0, 0, 1), 0.5, 8.0), ((2, 1, 0), 0.375, math.hypot(3, 2))],
)
def test_shifted_boxes(shift: tuple[int, int, int], dice: float, distance: float) -> None:
    for overlap in overlaps(boxes(shift), boxes(), SPACING, ACDC).values():
        assert overlap.dice == pytest.approx(dice)
        assert overlap.hausdorff_mm == pytest.approx(distance)


def test_hausdorff_distance_is_the_maximum_not_a_percentile() -> None:
    stray = boxes()
    stray[16, 11, 1] = 3  # five voxels of 2 mm from the box's last row
    found = overlaps(stray, boxes(), SPACING, ACDC)
    assert found["lv"].hausdorff_mm == pytest.approx(10.0)
    assert found["rv"].hausdorff_mm == 0.0


def test_missed_invented_absent() -> None:
    truth, predicted = boxes(), boxes()
    truth[np.isin(truth, (2, 3))] = 0
    predicted[np.isin(predicted, (1, 3))] = 0
    found = overlaps(predicted, truth, SPACING, ACDC)
    assert [(o.outcome, o.dice) for o in found.values()] == [("missed", 0), ("invented", 0), ("absent", 1)]
    assert math.isnan(found["rv"].hausdorff_mm)
    assert math.isnan(found["myocardium"].hausdorff_mm)
    assert found["lv"].hausdorff_mm == 0.0


def test_void_counts_nowhere() -> None:
    truth, predicted = boxes(), boxes()
    truth[16:18, 3:7, 1:3] = VOID
    found = overlaps(predicted, truth, SPACING, ACDC)["lv"]
    assert (found.dice, found.hausdorff_mm) == (1.0, 0.0)
    assert found.predicted_ml == found.truth_ml == pytest.approx(16 * 24 / 1000)


def test_structures_are_found_by_their_value() -> None:
    swapped = overlaps(boxes((1, 0, 0)), boxes(), SPACING, Structures(rv=3, myocardium=2, lv=1))
    assert swapped["lv"].dice == pytest.approx(0.75)


# Many frames


def test_agreement_as_worked_by_hand() -> None:
    row = agreement([100, 120, 140, 160], [102, 118, 146, 162])  # differences 2, -2, 6, 2
    sd = math.sqrt(32 / 3)
    assert (row.n, row.bias, row.mean_absolute_error) == (4, 2.0, 3.0)
    assert (row.truth_mean, row.predicted_mean) == (130.0, 132.0)
    assert row.sd == pytest.approx(sd)
    assert (row.lower, row.upper) == pytest.approx((2 - 1.96 * sd, 2 + 1.96 * sd))
    assert row.correlation == pytest.approx(2080 / math.sqrt(2000 * 2192))


@pytest.mark.parametrize(
    ("truth", "predicted", "n", "known"),
    [
        ([], [], 0, ()),
        ([5.0], [7.0], 1, ("bias", "mean_absolute_error", "truth_mean", "predicted_mean")),
        ([5.0, 6.0], [7.0, 9.0], 2, ("bias", "mean_absolute_error", "truth_mean", "predicted_mean", "sd", "lower", "upper")),
        ([5.0, math.nan], [7.0, 9.0], 1, ("bias", "mean_absolute_error", "truth_mean", "predicted_mean")),
        ([5.0, 5.0, 5.0], [7.0, 9.0, 8.0], 3, ("bias", "mean_absolute_error", "truth_mean", "predicted_mean", "sd", "lower", "upper")),
    ],
)  # fmt: skip
def test_too_few_values_have_no_number(
    truth: list[float], predicted: list[float], n: int, known: tuple[str, ...]
) -> None:
    row = vars(agreement(truth, predicted))
    assert row.pop("n") == n
    assert {name for name, value in row.items() if not math.isnan(value)} == set(known)


def test_quantities_of_a_patient() -> None:
    frames = [
        frame("a", "ES", (60, 80, 40), (50, 80, 55), "DCM"),
        frame("a", "ED", (120, 100, 100), (100, 90, 110), "DCM"),
    ]
    pairs = paired_values(frames).set_index("quantity")
    assert pairs["truth"].to_dict() == pytest.approx(
        dict(zip(COMPARED, (100, 40, 60, 105, 120, 60, 50), strict=True))  # LV EDV, ESV, EF, mass; RV EDV, ESV, EF
    )
    assert pairs["difference"].to_dict() == pytest.approx(
        dict(zip(COMPARED, (10, 15, -10, -10.5, -20, -10, 0), strict=True))
    )
    assert set(pairs["group"]) == {"DCM"}
    assert pairs["unit"].tolist() == ["mL", "mL", "%", "g", "mL", "mL", "%"]


def test_patient_without_es_has_labels_but_no_quantities() -> None:
    frames = [frame("a", "ED", (1, 1, 1), (1, 1, 1))]
    summary = summarize(frames)
    assert (summary["patients"], summary["patients_with_both_phases"]) == (1, 0)
    assert summary["overlap"]["lv"]["ED"]["n"] == 1
    assert summary["overlap"]["lv"]["ES"]["n"] == 0
    assert summary["function"]["lv_edv_ml"]["n"] == 0


def test_no_ejection_fraction_without_a_ventricle() -> None:
    frames = [frame("a", "ED", (10, 10, 10), (10, 10, 0)), frame("a", "ES", (5, 10, 5), (5, 10, 0))]
    table = agreement_table(paired_values(frames))
    assert (table["lv_ef_percent"].n, table["lv_edv_ml"].n, table["rv_ef_percent"].n) == (0, 1, 1)


def test_overlap_table_leaves_missed_structures_out_of_the_distance() -> None:
    found = [Overlap("found", 0.9, 4.0, 1, 1), Overlap("found", 0.7, 8.0, 1, 1), Overlap("missed", 0.0, math.nan, 1, 0)]
    row = overlap_table([Frame(str(n), "ED", "", {"lv": overlap}) for n, overlap in enumerate(found)])["lv"]["ED"]
    assert (row["n"], row["dice"]["n"], row["hausdorff_mm"]["n"], row["missed"]) == (3, 3, 2, 1)
    assert row["dice"]["mean"] == pytest.approx(1.6 / 3)
    assert (row["hausdorff_mm"]["mean"], row["hausdorff_mm"]["sd"]) == pytest.approx((6.0, math.sqrt(8)))


def cohort() -> list[Frame]:
    """Patients of two groups, one of none; LV EDV too large by 10 mL in NOR, too small by 20 mL in DCM."""
    frames = []
    for number, (group, error) in enumerate((("NOR", 10), ("NOR", 10), ("DCM", -20), ("DCM", -20), ("", 0))):
        ed, name = 100 + 30 * number, f"p{number}"
        frames += [frame(name, "ED", (90, 80, ed), (90, 80, ed + error), group)]
        frames += [frame(name, "ES", (40, 80, 50), (40, 80, 50), group)]
    return frames


def test_groups_stand_beside_all() -> None:
    summary = summarize(cohort())
    assert summary["function"]["lv_edv_ml"]["n"] == 5
    assert summary["function"]["lv_edv_ml"]["bias"] == pytest.approx(-4)
    assert list(summary["groups"]) == ["DCM", "NOR"]
    assert {name: part["function"]["lv_edv_ml"]["bias"] for name, part in summary["groups"].items()} == pytest.approx(
        {"DCM": -20, "NOR": 10}
    )


def test_page_says_n_and_dashes() -> None:
    about = {"data_set": "D", "section": "test", "model": "model.pt", "trained_on": "D", "patients_of_section": 6}
    page = markdown(about | summarize(cohort()))
    assert "5 patients, 10 frames (of the section's 6 patients" in page
    assert "all (5 patients)" in page
    assert "DCM (2 patients)" in page
    assert "NOR (2 patients)" in page
    row = next(line for line in page.splitlines() if line.startswith("| LV EDV"))
    assert [cell.strip() for cell in row.split("|")[2:6]] == [
        "5",
        "160.0",
        "156.0",
        "0.950",
    ]  # r = 7500 / sqrt(9000 x 6920)
    assert "nan" not in page
    assert "chosen by its scores" not in page


# Figures


def test_each_group_has_a_colour_and_a_marker() -> None:
    pairs = paired_values(cohort())
    styles = group_styles(pairs)
    assert list(styles) == ["DCM", "NOR", ""]
    assert styles[""] == NO_GROUP
    looks = [(style["color"], style["marker"]) for style in styles.values()]
    assert len({color for color, _ in looks}) == 3


@pytest.mark.parametrize("frames", [[], cohort()[:1], cohort()[:2], cohort()], ids=["none", "ED only", "one", "all"])
def test_figures_of_any_number_of_patients(frames: list[Frame], tmp_path: Path) -> None:
    statistics = summarize(frames)["function"]
    for path in write_figures(paired_values(frames), statistics, tmp_path):
        with Image.open(path) as picture:
            assert picture.width > 1000
    assert {path.name for path in tmp_path.iterdir()} == {"bland_altman.png", "scatter.png"}


# The command


def test_command_on_a_finished_run(
    finished_run: Path, phantom_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "agreement of 1"
    assert main(["--run_dir", str(finished_run), "--output_dir", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    summary = json.loads((out / "agreement.json").read_text(encoding="utf-8"))
    data_list = json.loads((finished_run / "data_list.json").read_text(encoding="utf-8"))
    patients = {item["patient"] for item in data_list["validation"]}
    assert summary["patients"] == summary["patients_with_both_phases"] == len(patients) > 0
    with (out / "agreement.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(patients) * len(COMPARED)
    assert {row["group"] for row in rows} == set(summary["groups"]) <= {"NOR", "MINF", "DCM", "HCM", "RV"}
    page = (out / "agreement.md").read_text(encoding="utf-8")
    assert page in capsys.readouterr().out
    assert page.startswith("# Agreement with reference: ")
    assert "chosen by its scores on this section" in page
    _same_truth_as_the_files(rows, data_list["validation"], phantom_dir)
    _same_bias_as_the_table(summary, out / "agreement.csv")


def _same_truth_as_the_files(rows: list[dict[str, str]], items: list[dict[str, str]], folder: Path) -> None:
    """LV volumes and ejection fraction counted again from the label files."""
    for patient in {item["patient"] for item in items}:
        volumes = {}
        for item in items:
            if item["patient"] == patient:
                label = nib.load(folder / item["label"])
                voxel_ml = np.prod(label.header.get_zooms()[:3]) / 1000
                volumes[item["phase"]] = np.count_nonzero(np.asarray(label.dataobj) == 3) * voxel_ml
        truth = {row["quantity"]: float(row["truth"]) for row in rows if row["patient"] == patient}
        assert truth["lv_edv_ml"] == pytest.approx(volumes["ED"], rel=1e-5)
        assert truth["lv_ef_percent"] == pytest.approx(100 * (1 - volumes["ES"] / volumes["ED"]), rel=1e-4)


def _same_bias_as_the_table(summary: dict, table: Path) -> None:
    means = pd.read_csv(table).groupby("quantity")["difference"].mean()
    for key, row in summary["function"].items():
        bias = math.nan if row["bias"] is None else row["bias"]
        assert bias == pytest.approx(means[key], nan_ok=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--section", "test"], "names no test patient"),
        (["--section", "training"], "--section must be one of validation, test"),
        (["--dataset_dir", "/nowhere"], "are not in dataset_dir /nowhere"),
    ],
)
def test_errors_of_the_command(
    arguments: list[str], message: str, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["--run_dir", str(finished_run), "--output_dir", str(out), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run_dir", str(tmp_path), "--output_dir", str(tmp_path / "out")]) == 1
    assert "is not the folder of a training run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        (("ED", ""), "1 of 2 frames"),
        (("all", "all"), "2 of 2 frames"),
        (("ES", "ES"), "1 patients of the section have"),
    ],
)
def test_frames_must_be_ed_and_es(phases: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_phases([{"patient": "patient007", "phase": phase} for phase in phases])
    assert "patient007" not in str(caught.value)


def test_model_of_photographs_is_refused() -> None:
    card = ModelCard({}, ("background", "rv", "myocardium", "lv"), None, (32, 32), "", "photographs", "none", "0.1.0")
    with pytest.raises(InputError, match="one of photographs"):
        next(predicted_frames([], torch.nn.Identity(), card, ACDC))


def test_group_is_that_of_the_info_beside_the_image(tmp_path: Path) -> None:
    image = tmp_path / "patient001" / "patient001_frame01.nii.gz"
    image.parent.mkdir()
    assert pathology_group(image) == ""
    (image.parent / "Info.cfg").write_text("ED: 1\nES: 9\nGroup: HCM\n", encoding="utf-8")
    assert pathology_group(image) == "HCM"
