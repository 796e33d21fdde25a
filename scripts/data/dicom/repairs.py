"""What is wrong in the headers of a cine that is read all the same, said without naming anybody."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

import numpy as np
from pydicom.uid import UID

from scripts.data.dicom.files import StudyFiles, text
from scripts.data.dicom.frames import Frame
from scripts.data.dicom.grid import PhaseGrid
from scripts.data.dicom.series import common_orientation


def repairs_of(grid: PhaseGrid, files: StudyFiles) -> tuple[str, ...]:
    """One sentence for each kind of fault found in the chosen images, and for damaged files that were passed over."""
    frames = [frame for phase in grid.frames for frame in phase]
    found = [
        _orientations(frames),
        _frames_of_reference(frames),
        _rescale(frames),
        _order(grid),
        _series(frames),
        _uids(frames),
        _dates(frames, files),
        f"{len(files.unreadable)} damaged DICOM file(s) of unknown series passed over" if files.unreadable else "",
        f"{files.foreign} file(s) that are not DICOM passed over" if files.foreign else "",
    ]
    return tuple(sentence for sentence in found if sentence)


def _orientations(frames: list[Frame]) -> str:
    differences = np.abs(np.array([frame.orientation for frame in frames]) - common_orientation(frames)).max()
    return f"ImageOrientationPatient differs by up to {differences:.1g}: the commonest taken" if differences > 0 else ""


def _frames_of_reference(frames: list[Frame]) -> str:
    count = len({frame.frame_of_reference for frame in frames})
    return f"{count} different FrameOfReferenceUIDs, but positions on one grid: taken as one" if count > 1 else ""


def _rescale(frames: list[Frame]) -> str:
    absent = sum(frame.rescale[0] is None for frame in frames)
    return (
        f"RescaleSlope absent in some images ({absent} of {len(frames)}): taken as 1"
        if 0 < absent < len(frames)
        else ""
    )


def _order(grid: PhaseGrid) -> str:
    return "" if grid.times_ms is not None else f"no usable TriggerTime: phases ordered by {grid.ordered_by}"


def _series(frames: list[Frame]) -> str:
    count = len({frame.series_uid for frame in frames})
    return f"{count} series of few slices each joined to one stack" if count > 1 else ""


def _uids(frames: Iterable[Frame]) -> str:
    invalid = any(not UID(uid).is_valid for f in frames for uid in (f.sop_instance_uid, f.series_uid, f.study_uid))
    return "UIDs that the standard does not allow (such as leading zeros): kept as they are" if invalid else ""


def _dates(frames: Iterable[Frame], files: StudyFiles) -> str:
    headers = [files.headers[path] for path in {frame.path for frame in frames}]
    invalid = [k for k in ("StudyDate", "PatientBirthDate") if any(not is_date(text(h, k)) for h in headers)]
    return f"invalid {' and '.join(invalid)}: not used" if invalid else ""


def is_date(value: str) -> bool:
    """Whether ``value`` is a date as DICOM writes them, or empty."""
    if not value:
        return True
    try:
        datetime.strptime(value, "%Y%m%d")
    except ValueError:
        return False
    return re.fullmatch(r"\d{8}", value) is not None
