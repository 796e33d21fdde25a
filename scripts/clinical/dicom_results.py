"""A report's masks and numbers as DICOM objects, in files beside it."""

from __future__ import annotations

from pathlib import Path

from scripts.clinical.dicom_sources import Sources
from scripts.clinical.measurement_object import measurement_object
from scripts.clinical.report import Findings
from scripts.clinical.segmentation_object import segmentation_object
from scripts.data.dicom.files import quiet_pydicom

FOLDER = "dicom"
SERIES_NUMBER = 9001
"""Of the first result; each object is a series of its own, since phases are other times and an SR is another modality."""


def write_dicom_results(folder: Path, findings: Findings, sources: Sources) -> None:
    """Write ``ed.seg.dcm``, ``es.seg.dcm`` and ``report.sr.dcm`` into ``folder``; nothing where the report gives no numbers.

    Args:
        folder: made if it is not there.
        findings: with a ``CardiacFunction``, or without one after a failed hard check.
        sources: of the study.
    """
    function, about = findings.without_numbers_if_failed().analysis, findings.about
    if function is None:
        return
    folder.mkdir()
    phases = {"ed": function.phases.ed, "es": function.phases.es}
    with quiet_pydicom():
        segmentations = [
            segmentation_object(
                sources,
                phase,
                findings.labels[phase],
                findings.structures,
                name.upper(),
                about["weights_sha256"],
                about["bundle_version"],
                SERIES_NUMBER + number,
            )
            for number, (name, phase) in enumerate(phases.items())
        ]
        report = measurement_object(
            sources,
            function,
            findings.flags,
            segmentations,
            about["weights_sha256"],
            about["bundle_version"],
            SERIES_NUMBER + len(segmentations),
        )
        for name, segmentation in zip(phases, segmentations, strict=True):
            segmentation.save_as(folder / f"{name}.seg.dcm")
        report.save_as(folder / "report.sr.dcm")
