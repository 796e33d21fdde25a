"""A report against the expert contours of the Sunnybrook Cardiac Data (Radau et al., MIDAS Journal, 2009; CC0).

    python -m scripts.clinical.expert_contours STUDY --contours DIR --report OUT

STUDY is the DICOM folder that OUT was made from by ``python -m scripts.clinical``, DIR the folder that holds ``i-contours`` (LV
endocardium at ED and ES) and ``o-contours`` (LV epicardium at ED): outlines in pixels, in files ``IM-0001-NNNN-...`` that belong to
the image file NNNN. Prints a table: volumes from the outlines' areas, from the report's masks at the phases of the
contours, the report's own numbers at the phases that it chose, and Dice of cavity and epicardium.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from scripts.clinical.function import DENSITY_G_PER_ML
from scripts.clinical.study import read_study
from scripts.data.cine import CineStudy
from scripts.errors import InputError, exit_code_of
from scripts.evaluation.page import markdown_table
from scripts.metrics import confusion_matrix, dice

KINDS = {"i": "endocardium", "o": "epicardium"}
Outlines = dict[str, dict[int, dict[int, NDArray[np.float64]]]]
"""[kind][phase][slice] to (n, 2) pixels, x (column) before y (row), both from 0."""


def read_outlines(folder: Path, study: CineStudy) -> Outlines:
    """The outlines below ``folder``, at the phase and slice (from 0) of the image that their names tell.

    Raises:
        InputError: no outline, one of an image that is not in the cine, or a file that holds no outline.
    """
    places = {
        _number(instance.path.stem): (phase, place)
        for phase, instances in enumerate(study.instances or ())
        for place, instance in enumerate(instances)
    }
    outlines: Outlines = {kind: {} for kind in KINDS.values()}
    for path in sorted(folder.glob("*-contours/IM-*contour*.txt")):
        number = int(path.name.split("-")[2])
        if number not in places:
            raise InputError(
                f"{path.name} is of image {number}, which is not in the short-axis cine: give its own study."
            )
        try:
            points = np.loadtxt(path, ndmin=2)
        except ValueError:
            points = np.empty((0, 0))
        if points.shape[0] < 3 or points.shape[1:] != (2,):
            raise InputError(f"{path.name} holds no outline: expected lines of two numbers, x and y in pixels.")
        phase, place = places[number]
        outlines[KINDS[path.parent.name[0]]].setdefault(phase, {})[place] = points
    if len(outlines["endocardium"]) != 2:
        raise InputError(
            f"--contours {folder} has endocardial outlines of {len(outlines['endocardium'])} phases; expected two, ED and ES, in "
            "i-contours/IM-0001-NNNN-icontour-manual.txt."
        )
    return outlines


def _number(stem: str) -> int:
    digits = re.findall(r"\d+", stem)
    return int(digits[-1]) if digits else -1


def volume_ml(outlines: Mapping[int, NDArray[np.float64]], spacing: Sequence[float]) -> float:
    """Areas within the outlines, by the shoelace formula, times the distance of slices."""
    area = 0.0
    for points in outlines.values():
        x, y = points.T
        area += abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    return area * float(np.prod(spacing)) / 1000


def mask_of(outlines: Mapping[int, NDArray[np.float64]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(x, y, S): voxels whose centre lies within an outline."""
    mask = np.zeros(shape, bool)
    for place, points in outlines.items():
        mask[..., place] = polygon2mask(shape[:2], points)
    return mask


def compare(study: CineStudy, labels: NDArray[np.uint8], report: Mapping, outlines: Outlines) -> list[tuple[str, ...]]:
    """Rows of the table: quantity, from contours, from the masks at the contours' phases, as the report has it.

    Args:
        labels: (P, x, y, S), the report's masks. report: its content.
    """
    values, spacing = report["labels"], study.spacing
    chosen = {row["key"]: row["value"] for row in report["measurements"]}
    endocardium = outlines["endocardium"]
    contour = {phase: volume_ml(endocardium[phase], spacing) for phase in endocardium}
    ed, es = sorted(contour, key=contour.__getitem__, reverse=True)
    voxel = float(np.prod(spacing)) / 1000
    mask = {phase: float((labels[phase] == values["lv"]).sum()) * voxel for phase in (ed, es)}

    def ef(volumes: Mapping[int, float]) -> float:
        return 100 * (volumes[ed] - volumes[es]) / volumes[ed]

    rows = [
        ("phase of ED, ES", f"{ed + 1}, {es + 1}", "the same", f"{report['phases']['ed']}, {report['phases']['es']}"),
        ("LV EDV (mL)", *_numbers(contour[ed], mask[ed], chosen.get("lv_edv_ml"))),
        ("LV ESV (mL)", *_numbers(contour[es], mask[es], chosen.get("lv_esv_ml"))),
        ("LV EF (%)", *_numbers(ef(contour), ef(mask), chosen.get("lv_ef_percent"))),
    ]
    epicardium = outlines["epicardium"].get(ed)
    if epicardium:
        # The wall where both outlines were drawn.
        inside = {place: points for place, points in endocardium[ed].items() if place in epicardium}
        wall = volume_ml(epicardium, spacing) - volume_ml(inside, spacing)
        model = float((labels[ed] == values["myocardium"]).sum()) * voxel * DENSITY_G_PER_ML
        rows.append(("LV mass at ED (g)", *_numbers(DENSITY_G_PER_ML * wall, model, chosen.get("lv_mass_g"))))
    for name, phase in (("ED", ed), ("ES", es)):
        overlap = _dice(mask_of(endocardium[phase], labels.shape[1:]), labels[phase] == values["lv"])
        rows.append((f"Dice of the LV cavity at {name}", "", f"{overlap:.3f}", ""))
    if epicardium:
        whole = np.isin(labels[ed], (values["lv"], values["myocardium"]))
        overlap = _dice(mask_of(epicardium, labels.shape[1:]), whole)
        rows.append(("Dice of the LV with its wall at ED", "", f"{overlap:.3f}", ""))
    return rows


def _numbers(*numbers: float | None) -> tuple[str, ...]:
    return tuple("none" if number is None else f"{number:.1f}" for number in numbers)


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    matrix = confusion_matrix(torch.from_numpy(one).long(), torch.from_numpy(other).long(), 2)
    return float(dice(matrix)[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.clinical.expert_contours",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", metavar="STUDY")
    parser.add_argument("--contours", type=Path, required=True, metavar="DIR", help="holds i-contours and o-contours")
    parser.add_argument("--report", type=Path, required=True, metavar="OUT", help="of python -m scripts.clinical STUDY")
    options = parser.parse_args(arguments)

    def print_table() -> int:
        study = read_study(options.study)
        report, labels = _read_report(options.report, study)
        rows = compare(study, labels, report, read_outlines(options.contours, study))
        print(markdown_table(("", "contours", "masks at the contours' phases", "report"), rows))
        return 0

    return exit_code_of(print_table)


def _read_report(folder: Path, study: CineStudy) -> tuple[dict, NDArray[np.uint8]]:
    files = folder / "report.json", folder / "segmentation.nii.gz"
    if not all(path.is_file() for path in files):
        raise InputError(
            f"{folder} holds no report: make one by python -m scripts.clinical STUDY --output_dir {folder}."
        )
    report = json.loads(files[0].read_text(encoding="utf-8"))
    volume = nib.load(files[1])
    labels = np.moveaxis(np.asarray(volume.dataobj), -1, 0)  # type: ignore[attr-defined]
    if labels.shape != study.images.shape:
        raise InputError(f"{folder} is of another study: masks of {labels.shape}, images of {study.images.shape}.")
    return report, labels


if __name__ == "__main__":
    sys.exit(main())
