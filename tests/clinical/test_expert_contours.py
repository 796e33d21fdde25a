"""Expert contours against a report: circles of known area, and the real Sunnybrook study read through its own contours."""

import json
import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.clinical.expert_contours import main, mask_of, read_outlines, volume_ml
from scripts.clinical.study import read_study

VALUES = {"background": 0, "rv": 1, "myocardium": 2, "lv": 3}


def circle(radius: float, x: float = 30.0, y: float = 20.0) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * math.pi, 200, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1)


def test_a_volume_is_area_times_distance() -> None:
    outlines = {2: circle(10), 3: circle(5)}
    assert volume_ml(outlines, (1.5, 2.0, 8.0)) == pytest.approx(math.pi * 125 * 24 / 1000, rel=1e-3)
    assert volume_ml({2: circle(10)[::-1]}, (1, 1, 1)) == pytest.approx(0.1 * math.pi, rel=1e-3), "drawn either way"


def test_a_mask_has_x_before_y() -> None:
    mask = mask_of({1: circle(6)}, (64, 48, 3))
    assert mask.sum((0, 1)).tolist() == [0, pytest.approx(math.pi * 36, rel=0.05), 0]
    assert mask[30, 20, 1]
    assert not mask[20, 30, 1]


def write_report(folder: Path, labels: NDArray[np.uint8], **changes: Any) -> Path:
    """What the command reads of a report."""
    folder.mkdir()
    rows = [{"key": key, "value": 100.0} for key in ("lv_edv_ml", "lv_esv_ml", "lv_ef_percent", "lv_mass_g")]
    content = {"labels": VALUES, "measurements": rows, "phases": {"ed": 1, "es": 2}} | changes
    (folder / "report.json").write_text(json.dumps(content))
    nib.save(nib.Nifti1Image(np.moveaxis(labels, 0, -1), np.eye(4)), folder / "segmentation.nii.gz")
    return folder


def test_the_contours_themselves_agree_with_themselves(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Masks made of the contours, as a report: the numbers of the study, and Dice 1."""
    source = real_data / "sunnybrook"
    study, contours = read_study(source / "dicom"), source / "contours" / "SCD0000301"
    outlines = read_outlines(contours, study)
    assert sorted(outlines["endocardium"]) == [6, 19]
    labels = np.zeros(study.images.shape, np.uint8)
    labels[19][mask_of(outlines["epicardium"][19], labels.shape[1:])] = VALUES["myocardium"]
    for phase, of_phase in outlines["endocardium"].items():
        labels[phase][mask_of(of_phase, labels.shape[1:])] = VALUES["lv"]
    report = write_report(tmp_path / "report", labels)
    assert main([str(source / "dicom"), "--contours", str(contours), "--report", str(report)]) == 0
    table = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:5]]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("|")
    }
    assert table["phase of ED, ES"] == ["20, 7", "the same", "1, 2"]
    for name, known in (("LV EDV (mL)", 230), ("LV ESV (mL)", 180), ("LV EF (%)", 22)):
        assert float(table[name][0]) == pytest.approx(known, rel=0.02)
        # Outlines run through pixel centres, and whole pixels count their border in.
        assert float(table[name][1]) == pytest.approx(float(table[name][0]), rel=0.06)
        assert table[name][2] == "100.0"
    assert table["Dice of the LV cavity at ED"][1] == "1.000"
    assert table["Dice of the LV cavity at ES"][1] == "1.000"
    assert float(table["Dice of the LV with its wall at ED"][1]) > 0.99


def no_report(folder: Path, dicom_phantom: Path) -> str:
    return "holds no report"


def another_study(folder: Path, dicom_phantom: Path) -> str:
    write_report(folder / "report", np.zeros((2, 3, 4, 5), np.uint8))
    return "is of another study"


def no_outline(folder: Path, dicom_phantom: Path) -> str:
    write_report(folder / "report", np.zeros(read_study(dicom_phantom).images.shape, np.uint8))
    return "outlines of 0 phases; expected two"


def of_another_image(folder: Path, dicom_phantom: Path) -> str:
    no_outline(folder, dicom_phantom)
    (folder / "i-contours").mkdir()
    (folder / "i-contours" / "IM-0001-99999-icontour-manual.txt").write_text("1 2\n3 4\n5 1\n")
    return "is of image 99999, which is not in"


@pytest.mark.parametrize("spoil", [no_report, another_study, no_outline, of_another_image])
def test_what_does_not_fit_is_refused(
    spoil: Any, dicom_phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = spoil(tmp_path, dicom_phantom)
    assert main([str(dicom_phantom), "--contours", str(tmp_path), "--report", str(tmp_path / "report")]) == 1
    assert message in capsys.readouterr().err
