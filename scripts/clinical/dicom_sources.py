"""The images of a phase as headers that results can be built on, and true references to them.

highdicom compares headers exactly, and real studies do not bear that: directions that differ in the sixth digit, a frame of
reference a file, invalid dates, phases in one multi-frame object. So each slice gets a header of its own, made of the
patient and study as they are and of the geometry that was found for the stack. Results name the true images.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import PersonName, format_number_as_ds

from scripts.data.cine import CineStudy, SourceInstance
from scripts.data.dicom.files import quiet_pydicom
from scripts.data.dicom.grid import LPS_TO_RAS  # its own inverse
from scripts.data.dicom.repairs import is_date
from scripts.errors import InputError

KEPT = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
)
"""Of the patient, the study and the frame of reference, copied as they are, in UTF-8."""
REQUIRED_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)


def new_uid() -> UID:
    """A UID of the bundle's own: under 2.25, the root of UIDs made from UUIDs (PS3.5, B.2), which needs no registration."""
    return UID(generate_uid(prefix=None))


def instances_of(study: CineStudy) -> tuple[tuple[SourceInstance, ...], ...]:
    """The DICOM images of a study, [phase][slice].

    Raises:
        InputError: it was not read from DICOM.
    """
    if study.instances is None:
        raise InputError(
            "DICOM results name the DICOM images that they are of, and this study is not DICOM: leave --dicom out, or give the "
            "folder of DICOM files."
        )
    return study.instances


@dataclass(frozen=True)
class Sources:
    """The images that a study's stack was read from.

    Attributes:
        study: what was read.
        first: patient, study and frame of reference.
        repairs: what they differ in from the files, in words.
        series: UID of the series of each file; a stack may lie in several.
    """

    study: CineStudy
    first: Dataset
    repairs: tuple[str, ...]
    series: Mapping[Path, str]

    @classmethod
    @quiet_pydicom()
    def of(cls, study: CineStudy) -> Sources:
        """Read what identifies patient and study from the first image.

        Raises:
            InputError: the study was not read from DICOM.
        """
        instances = instances_of(study)
        first = _identity(instances[0][0].path)
        headers = {
            path: dcmread(path, specific_tags=["FrameOfReferenceUID", "SeriesInstanceUID"])
            for path in {instance.path for phase in instances for instance in phase}
        }
        frames = {header.get("FrameOfReferenceUID", "") for header in headers.values()}
        repairs = _repair(first, len(frames))
        return cls(study, first, repairs, {path: header.SeriesInstanceUID for path, header in headers.items()})

    def phase(self, phase: int) -> list[Dataset]:
        """Headers of the slices of ``phase`` (from 0): single MR images, named by UIDs of their own."""
        return [self._slice(phase, number) for number in range(self.study.images.shape[-1])]

    def references(self, phase: int, headers: Sequence[Dataset]) -> dict[str, SourceInstance]:
        """The true image behind each UID of ``headers``, as ``phase`` gave them."""
        instances = instances_of(self.study)[phase]
        return {header.SOPInstanceUID: instance for header, instance in zip(headers, instances, strict=True)}

    def _slice(self, phase: int, number: int) -> Dataset:
        study = self.study
        affine, (_, columns, rows, _) = LPS_TO_RAS @ study.affine, study.images.shape
        dx, dy, dz = study.spacing
        made = Dataset()
        made.update(self.first)
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.SOPClassUID, made.SOPInstanceUID, made.Modality = MRImageStorage, new_uid(), "MR"
        made.ImageOrientationPatient = _numbers([*affine[:3, 0] / dx, *affine[:3, 1] / dy])
        made.ImagePositionPatient = _numbers(affine[:3, 3] + number * affine[:3, 2])
        made.PixelSpacing, made.SliceThickness = _numbers([dy, dx]), _numbers([dz])[0]
        made.SpacingBetweenSlices = _numbers([dz])[0]
        made.Rows, made.Columns, made.InstanceNumber = rows, columns, number + 1
        return made


def _identity(path: Path) -> Dataset:
    """What ``KEPT`` names of the header at ``path``, in UTF-8: highdicom refuses the two-part character sets of Japan and Korea."""
    header = dcmread(path, stop_before_pixels=True)
    header.decode()
    kept = Dataset()
    kept.SpecificCharacterSet = "ISO_IR 192"
    for keyword in KEPT:
        if keyword in header:
            value = header[keyword].value
            setattr(kept, keyword, str(value) if isinstance(value, PersonName) else value)
    return kept


def _repair(first: Dataset, frames_of_reference: int) -> tuple[str, ...]:
    repairs = []
    for keyword in ("PatientBirthDate", "StudyDate"):
        if not is_date(str(first.get(keyword, ""))):
            setattr(first, keyword, "")
            repairs.append(f"{keyword} is no date: left empty in DICOM results")
    for keyword, valid in (("PatientSex", r"[MFO]?"), ("StudyTime", r"(\d{2}|\d{4}|\d{6}(\.\d{1,6})?)?")):
        if not re.fullmatch(valid, str(first.get(keyword) or "")):
            setattr(first, keyword, "")
            repairs.append(f"{keyword} is invalid: left empty in DICOM results")
    if frames_of_reference != 1 or not first.get("FrameOfReferenceUID"):
        first.FrameOfReferenceUID = new_uid()
        repairs.append(f"{frames_of_reference} frames of reference in one stack: DICOM results have a new one")
    for keyword in REQUIRED_EMPTY:
        if keyword not in first:
            setattr(first, keyword, "")
    return tuple(repairs)


def _numbers(values: Sequence[float] | np.ndarray) -> list[str]:
    return [format_number_as_ds(round(float(value), 9)) for value in values]
