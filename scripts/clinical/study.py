"""A study by its path: a DICOM folder or file, a 4-D NIfTI file, or a patient's folder of ACDC."""

from __future__ import annotations

from pathlib import Path

from scripts.clinical.volume_reading import is_acdc_patient, read_acdc, read_nifti
from scripts.data.cine import Body, CineStudy, SourceInstance
from scripts.data.dicom.reading import read_dicom
from scripts.data.reader import NIFTI_SUFFIXES
from scripts.errors import InputError

__all__ = ["Body", "CineStudy", "SourceInstance", "read_study"]


def read_study(path: str | Path, series_number: int | None = None) -> CineStudy:
    """Read the short-axis cine of a study.

    Args:
        path: a folder of DICOM files (searched with all folders below), one DICOM file, a 4-D NIfTI file
            (x, y, slices, phases), or a folder ``patientXXX`` of ACDC.
        series_number: of DICOM, which series to take where the study has several that could be meant.

    Raises:
        InputError: nothing there, or no complete short-axis cine in it; the message says what is missing.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(
            "the study given does not exist: give a DICOM folder, a 4-D NIfTI file or an ACDC patient folder."
        )
    nifti = path.is_file() and path.name.lower().endswith(NIFTI_SUFFIXES)
    acdc = is_acdc_patient(path)
    if series_number is not None and (nifti or acdc):
        raise InputError("a series number was given, but the study is not DICOM and has no series: leave it out.")
    if nifti:
        return read_nifti(path)
    return read_acdc(path) if acdc else read_dicom(path, series_number)
