"""What can be wrong with a study: each fault by one switch of :func:`scripts.data.dicom_phantom.write_dicom_phantom`.

A fault changes the frames before objects are made of them, the objects before they are written, or the files. All but
``nasty_names`` and ``sunnybrook_quirks`` (and, with a note, ``not_dicom_file``) make the study unusable.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import DS

from scripts.data.dicom_objects import DicomFile, Frame, Series, synthetic_uid

NASTY_NAME = "Müller Ærø../..^Zoë 心 ^.."
NASTY_ID = "../../id 1/é"
NASTY_FOLDERS = ("Ärzte & Söhne", "..hidden  dir", "心臓 a..b")
UNKNOWN_TRANSFER_SYNTAX = synthetic_uid("unknown transfer syntax")

SeriesFault = Callable[[list[Series]], list[Series]]
ObjectFault = Callable[[list[DicomFile]], list[DicomFile]]
FileFault = Callable[[Path, list[str]], None]
"""Given the study's folder and the paths of the short-axis files below it."""


def _of_frames(change: Callable[[list[Frame]], list[Frame]]) -> SeriesFault:
    """Change the frames of the short-axis series."""

    def fault(series: list[Series]) -> list[Series]:
        return [replace(s, frames=tuple(change(list(s.frames)))) if s.role == "short_axis" else s for s in series]

    return fault


def _of_short_axis(change: Callable[[list[DicomFile]], list[DicomFile]]) -> ObjectFault:
    """Put what ``change`` makes of the short-axis files in their place."""

    def fault(files: list[DicomFile]) -> list[DicomFile]:
        short_axis = [file for file in files if file.role == "short_axis"]
        return [file for file in files if file.role != "short_axis"] + change(short_axis)

    return fault


# Frames


def _without_short_axis(series: list[Series]) -> list[Series]:
    return [s for s in series if s.role != "short_axis"]


def _as_captures(series: list[Series]) -> list[Series]:
    """All that is left of the short axis are screenshots."""
    return [replace(s, capture=True) if s.role == "short_axis" else s for s in series]


def _without_one(frames: list[Frame]) -> list[Frame]:
    """The middle slice is missing in the third phase (in the last, where there are fewer)."""
    middle, third = len({f.slice for f in frames}) // 2, min(2, max(f.phase for f in frames))
    return [f for f in frames if (f.slice, f.phase) != (middle, third)]


def _one_turned(frames: list[Frame]) -> list[Frame]:
    """The second slice is turned by 20 degrees about its rows."""
    cos, sin = math.cos(math.radians(20.0)), math.sin(math.radians(20.0))

    def turned(frame: Frame) -> Frame:
        plane = frame.plane
        column = cos * plane.column + sin * np.cross(plane.row, plane.column)
        return replace(frame, plane=replace(plane, column=column))

    return [turned(f) if f.slice == 1 else f for f in frames]


def _without_spacing(frames: list[Frame]) -> list[Frame]:
    return [replace(f, plane=replace(f.plane, spacing=0.0)) for f in frames]


def _first_phase(frames: list[Frame]) -> list[Frame]:
    return [f for f in frames if f.phase == 0]


def _middle_slices(frames: list[Frame]) -> list[Frame]:
    """Three neighbours around the middle, numbered from 0."""
    first = len({f.slice for f in frames}) // 2 - 1
    return [replace(f, slice=f.slice - first) for f in frames if first <= f.slice < first + 3]


# Objects


def _rename(content: Dataset, uid: str) -> None:
    content.SOPInstanceUID = content.file_meta.MediaStorageSOPInstanceUID = UID(uid)


def _copied(files: list[DicomFile], what: str, **attributes: object) -> list[DicomFile]:
    """``files`` once more as other objects of another series, with ``attributes`` set by keyword."""
    copies = []
    for file in files:
        content = copy.deepcopy(file.dataset)
        _rename(content, synthetic_uid(what, content.SOPInstanceUID))
        content.SeriesInstanceUID = synthetic_uid(what, content.SeriesInstanceUID)
        for keyword, value in attributes.items():
            setattr(content, keyword, value)
        copies.append(DicomFile(f"{file.path}1", file.role, content))
    return copies


def _twice(files: list[DicomFile]) -> list[DicomFile]:
    """The short axis was repeated: another series, complete."""
    return files + _copied(files, "repeated", SeriesNumber=files[0].dataset.SeriesNumber + 10)


def _another_patient(files: list[DicomFile]) -> list[DicomFile]:
    """The folder holds the short axis of somebody else too."""
    study, frame_of_reference = (synthetic_uid("another", what) for what in ("study", "frame of reference"))
    return files + _copied(
        files,
        "another",
        PatientName="Othersurname^Othergiven",
        PatientID="OTHER-ID-0815",
        StudyInstanceUID=study,
        FrameOfReferenceUID=frame_of_reference,
    )


def _unknown_syntax(files: list[DicomFile]) -> list[DicomFile]:
    return [replace(file, unknown_syntax=UNKNOWN_TRANSFER_SYNTAX) for file in files]


def _nasty_names(files: list[DicomFile]) -> list[DicomFile]:
    """Spaces, dots, slashes and letters outside ASCII in paths and in what names the patient."""
    folders = sorted({file.path.partition("/")[0] for file in files})
    for file in files:
        folder, _, name = file.path.partition("/")
        file.path = f"{NASTY_FOLDERS[folders.index(folder) % len(NASTY_FOLDERS)]}/..{name} (1) é.dcm"
        file.dataset.SpecificCharacterSet = "ISO_IR 192"
        file.dataset.PatientName, file.dataset.PatientID = NASTY_NAME, NASTY_ID
        file.dataset.SeriesDescription = f"../{file.dataset.SeriesDescription} ü"
    return files


def _sunnybrook_quirks(files: list[DicomFile]) -> list[DicomFile]:
    """What is odd about the headers of the Sunnybrook studies, in all of which the geometry is sound."""
    rng = np.random.default_rng(301)
    for file in files:
        content = file.dataset
        uid = str(content.SOPInstanceUID)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
            setattr(content, keyword, UID(f"{content[keyword].value[:50]}.00301"))
        _rename(content, f"{uid[:50]}.000301")
        if "FrameOfReferenceUID" in content:
            content.FrameOfReferenceUID = UID(f"{synthetic_uid(uid)}.0301")
        content.SeriesDescription = content.AccessionNumber = content.StudyID = content.PatientSex = ""
        content.PatientBirthDate = "00000000"
        for keyword in ("StudyDate", "SeriesDate", "ContentDate", "AcquisitionDate"):
            if keyword in content:
                setattr(content, keyword, "20120000")
        for keyword in ("PatientSize", "PatientWeight"):
            delattr(content, keyword)
        if "ImageOrientationPatient" in content:
            jitter = rng.choice([-1e-6, 0.0, 1e-6], 6)
            content.ImageOrientationPatient = [
                DS(round(float(value) + shift, 6), auto_format=True)
                for value, shift in zip(content.ImageOrientationPatient, jitter, strict=True)
            ]
    return files


# Files


def _duplicate(folder: Path, short_axis: list[str]) -> None:
    """The same object lies in the folder twice."""
    source = folder / short_axis[len(short_axis) // 2]
    source.with_name(f"{source.name}2").write_bytes(source.read_bytes())


def _truncate(folder: Path, short_axis: list[str]) -> None:
    """A transfer broke off in the middle of the pixels."""
    path = folder / short_axis[len(short_axis) // 2]
    content = path.read_bytes()
    pixels = max(content.rfind(b"\xe0\x7f\x10\x00"), 0)  # the element's tag; deflated, it cannot be seen
    path.write_bytes(content[: (pixels + len(content)) // 2])


def _add_other_files(folder: Path, short_axis: list[str]) -> None:
    """A text, an empty file and the beginning of a picture lie among the others."""
    place = (folder / short_axis[0]).parent
    (folder / "README.TXT").write_text("This disc holds pictures.\n", encoding="utf-8")
    (place / "VERSION").write_bytes(b"")
    (place / "PREVIEW").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))


SERIES_FAULTS: dict[str, SeriesFault] = {
    "no_short_axis": _without_short_axis,
    "missing_slice_in_one_phase": _of_frames(_without_one),
    "mixed_orientations": _of_frames(_one_turned),
    "burnt_in_capture": _as_captures,
    "zero_spacing": _of_frames(_without_spacing),
    "single_phase": _of_frames(_first_phase),
    "three_slices": _of_frames(_middle_slices),
}
OBJECT_FAULTS: dict[str, ObjectFault] = {
    "two_short_axis": _of_short_axis(_twice),
    "mixed_patients": _of_short_axis(_another_patient),
    "unknown_transfer_syntax": _of_short_axis(_unknown_syntax),
    "nasty_names": _nasty_names,
    "sunnybrook_quirks": _sunnybrook_quirks,
}
FILE_FAULTS: dict[str, FileFault] = {
    "duplicated_instance": _duplicate,
    "truncated_file": _truncate,
    "not_dicom_file": _add_other_files,
}
FAULTS = (*SERIES_FAULTS, *OBJECT_FAULTS, *FILE_FAULTS)
"""Names of all faults."""
SURVIVABLE = ("not_dicom_file", "nasty_names", "sunnybrook_quirks")
"""The faults behind which the study is whole."""
