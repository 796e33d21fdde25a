"""The files of a report: written into a temporary folder, and moved into place whole or not at all.

=====================  ==============================================================================================
segmentation.nii.gz    (x, y, slices, phases) uint8, on the grid of the study
ed.nii.gz, es.nii.gz   (x, y, slices) uint8, end-diastole and end-systole
report.json            everything that was found; ``docs/report_schema.json``
measurements.csv       a row a measurement, empty where it is unknown, with the range of healthy adults
volumes.csv            a row a phase
report.html            the page to read; needs no other file
report.pdf             the same page printed, if asked for
=====================  ==============================================================================================

After a failed hard check there are no numbers: only segmentation.nii.gz, report.json and report.html (and its print).
"""

import csv
import gzip
import hashlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from scripts.clinical.dicom_results import FOLDER, write_dicom_results
from scripts.clinical.dicom_sources import Sources
from scripts.clinical.function import CardiacFunction
from scripts.clinical.page_print import print_page
from scripts.clinical.quality import Flag
from scripts.clinical.report import ACDC_STRUCTURES, SCHEMA, About, Findings, phase_times_ms, report_content
from scripts.clinical.report_page import html
from scripts.clinical.structures import Structures
from scripts.clinical.wall_thickness import WallThickness
from scripts.data.cine import CineStudy
from scripts.errors import InputError

REPORT, PAGE, PRINT = "report.json", "report.html", "report.pdf"
SEGMENTATION, ED, ES = "segmentation.nii.gz", "ed.nii.gz", "es.nii.gz"
MEASUREMENTS, VOLUMES = "measurements.csv", "volumes.csv"
FILES = (SEGMENTATION, ED, ES, REPORT, MEASUREMENTS, VOLUMES, PAGE, PRINT)
"""All that a report may consist of, with ``FOLDER`` of DICOM results: a folder with anything else is not replaced."""


def write_outputs(
    output_dir: str | Path,
    study: CineStudy,
    labels: NDArray[np.uint8],
    confidence: Mapping[str, ArrayLike | None] | None,
    analysis: CardiacFunction | None,
    flags: Sequence[Flag],
    wall: WallThickness | None,
    about: About,
    *,
    structures: Structures = ACDC_STRUCTURES,
    include_phi: bool = False,
    pdf: bool = False,
    dicom: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write the report of a study.

    Args:
        output_dir: the folder to make; one that is empty or absent, or a former report with ``overwrite``.
        study: what was read.
        labels: (P, x, y, S) uint8, on the grid of the study.
        confidence: mean softmax in [0, 1] of each structure, (P,), or None.
        analysis, wall: what was measured; left out of every file if one of ``flags`` is hard, and may be None then.
        flags: doubts.
        about: what made the report.
        structures: the label values.
        include_phi: say on the page and in report.json who the patient is; never anywhere else.
        pdf: print the page with a browser.
        dicom: masks and numbers as DICOM objects, too; they carry the patient's identity, as the study does.
        overwrite: replace a former report.

    Returns:
        ``output_dir``.

    Raises:
        InputError: see :func:`check_output_dir`; no browser for a PDF; DICOM asked for of another source; a full disk. Nothing is left behind, and a former
            report stays.
    """
    output_dir = Path(output_dir)
    check_output_dir(output_dir, overwrite)
    sources = None
    if dicom:
        sources = Sources.of(study)
        study = replace(study, repairs=(*study.repairs, *sources.repairs))
    findings = Findings(study, labels, about, analysis, flags, wall, confidence, structures, include_phi)
    target = output_dir.resolve()
    partial = target.with_name(f".report.{uuid.uuid4().hex}.partial")
    try:
        partial.mkdir(parents=True)
        if sources is not None:
            write_dicom_results(partial / FOLDER, findings, sources)
        _write_files(partial, findings, pdf)
        _move_into_place(partial, target)
    except OSError as error:
        raise InputError(
            f"the report could not be written: {error.strerror or type(error).__name__}. What was in --output_dir before is "
            "intact; free some space or give another one."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return output_dir


def check_output_dir(output_dir: str | Path, overwrite: bool = False) -> None:
    """Whether a report may be written there; worth asking before the work begins.

    Raises:
        InputError: a file, a folder that holds anything but a report, or a report without ``overwrite``.
    """
    output_dir = Path(output_dir)
    if not output_dir.exists() or (output_dir.is_dir() and not any(output_dir.iterdir())):
        return
    if not _is_report(output_dir):
        raise InputError(
            "--output_dir is expected to be a new or empty folder, or a former report, but it holds something else, which "
            "would be lost: give another one."
        )
    if not overwrite:
        raise InputError("--output_dir already holds a report: give another one, or replace it with --overwrite true.")


def _is_report(folder: Path) -> bool:
    if not folder.is_dir() or not {path.name for path in folder.iterdir()} <= {*FILES, FOLDER}:
        return False
    try:
        content = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("schema") == SCHEMA


def _move_into_place(partial: Path, target: Path) -> None:
    """Rename ``partial`` to ``target``; what stands there comes back if that fails."""
    former = partial.with_suffix(".former")
    if target.exists():
        target.rename(former)
    try:
        partial.rename(target)
    except BaseException:
        if former.exists():
            former.rename(target)
        raise
    shutil.rmtree(former, ignore_errors=True)


def _write_files(folder: Path, findings: Findings, pdf: bool) -> None:
    content = report_content(findings)
    _write_masks(folder, findings.study, findings.labels, content["phases"])
    if content["numbers_given"]:
        _write_csv(folder / MEASUREMENTS, _measurement_rows(content))
        _write_csv(folder / VOLUMES, content["volumes"])
    written = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: _order(folder, path))
    content["files"] = {path.relative_to(folder).as_posix(): _sha256(path) for path in written}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    _write_text(folder / REPORT, text + "\n")
    _write_text(folder / PAGE, html(content, findings))
    if pdf:
        print_page(folder / PAGE, folder / PRINT)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        with path.open("r+b") as file:
            os.fsync(file.fileno())


def _order(folder: Path, path: Path) -> tuple[int, str]:
    """As ``FILES`` names them, those of a folder by name."""
    name = path.relative_to(folder)
    return (*FILES, FOLDER).index(name.parts[0]), name.as_posix()


def _write_masks(folder: Path, study: CineStudy, labels: NDArray[np.uint8], phases: Mapping[str, Any] | None) -> None:
    times = phase_times_ms(study)
    step_ms = float(np.diff(times).mean()) if times is not None and len(times) > 1 else 0.0
    _write_nifti(folder / SEGMENTATION, np.moveaxis(labels, 0, -1), study.affine, step_ms)
    if phases is not None:
        _write_nifti(folder / ED, labels[phases["ed"] - 1], study.affine)
        _write_nifti(folder / ES, labels[phases["es"] - 1], study.affine)


def _write_nifti(path: Path, labels: NDArray[np.uint8], affine: NDArray[np.float64], step_ms: float = 0.0) -> None:
    """NIfTI-1: ``affine`` as the sform, in single precision, which is all it holds; no time or name in the gzip header."""
    volume = nib.Nifti1Image(labels, affine, dtype=np.uint8)
    volume.header.set_xyzt_units("mm", "msec")
    volume.header.set_sform(affine, code="scanner")
    with suppress(nib.spatialimages.HeaderDataError):  # a sheared affine is no rotation
        volume.header.set_qform(affine, code="scanner", strip_shears=False)
    if labels.ndim == 4:
        volume.header.set_zooms((*volume.header.get_zooms()[:3], step_ms))
    with path.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
        packed.write(volume.to_bytes())


def _measurement_rows(content: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for measurement in content["measurements"]:
        reference = measurement["reference"] or {}
        yield {
            **{name: measurement[name] for name in ("key", "name", "value", "unit")},
            "reference_low": reference.get("low"),
            "reference_high": reference.get("high"),
            "source": reference.get("source"),
            "evidence": reference.get("evidence"),
        }


def _write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _write_text(path, text.getvalue())


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
