"""One image of a DICOM object, single-frame or multi-frame, with what is needed to place it in a cine.

Attributes: DICOM PS3.3, C.7.6.2 (image plane), C.8.3 (MR), C.7.6.16 and C.8.13 (enhanced MR, functional groups).
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.multival import MultiValue

from scripts.data.dicom.files import MR_IMAGES, MULTI_FRAME_MR

PHASE_MAPS = {"P", "PHASE", "PHASE MAP", "VELOCITY", "VELOCITY MAP", "REAL", "IMAGINARY", "R", "I"}
DERIVED = "derived"
Attributes = Callable[[str], Any]
Vector = tuple[float, ...]


@dataclass(frozen=True)
class Frame:
    """One image: ``number`` counts from 1 in a multi-frame file, None in a single-frame one.

    ``unfit`` says why the image is no part of a cine, "" where nothing speaks against it. Lengths in mm, times in ms
    after the R wave; ``acquired`` grows with the time of acquisition and has no unit. None where the file does not say.
    """

    path: Path
    number: int | None
    sop_instance_uid: str
    sop_class_uid: str
    study_uid: str
    series_uid: str
    series_number: int | None
    frame_of_reference: str
    unfit: str
    shape: tuple[int, int]
    pixel_spacing: Vector | None
    position: Vector | None
    orientation: Vector | None
    rescale: tuple[float | None, float | None]
    trigger_ms: float | None
    temporal_position: float | None
    instance: tuple[float, int] | None
    acquired: float | None
    heart_rate: float | None


def frames_of(path: Path, header: Dataset) -> list[Frame]:
    """All frames of a file.

    Args:
        path, header: of ``scripts.data.dicom.files``.

    Raises:
        ValueError: the functional groups do not fit the number of frames, as in a file cut short.
    """
    top = _attributes(header)
    if top("SOPClassUID") not in MULTI_FRAME_MR:
        return [_frame(path, None, top)]
    count = int(number(top("NumberOfFrames")) or 0)
    groups = list(top("PerFrameFunctionalGroupsSequence") or [])
    if count < 1 or len(groups) != count:
        raise ValueError("the functional groups do not fit the number of frames")
    shared = _flattened((top("SharedFunctionalGroupsSequence") or [Dataset()])[0])
    return [_frame(path, i, _grouped(header, ChainMap(_flattened(group), shared))) for i, group in enumerate(groups, 1)]


def number(value: object) -> float | None:
    """``value`` as a finite number, None if it is none."""
    try:
        result = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None


def _attributes(dataset: Dataset) -> Attributes:
    """Look-up by keyword that gives None for what is absent, empty, or not of its type."""

    def attribute(keyword: str) -> Any:
        try:
            value = dataset.get(keyword)
        except Exception:  # converting a broken value raises whatever its type does
            return None
        return None if value == "" else value

    return attribute


def _grouped(header: Dataset, groups: Mapping[str, Dataset]) -> Attributes:
    """Look-up in the functional groups of a frame, then in the header."""
    return lambda keyword: _attributes(groups.get(keyword, header))(keyword)


def _flattened(groups: Dataset) -> dict[str, Dataset]:
    """Each attribute of a frame's functional groups, by keyword: the item that holds it."""
    items = [item for group in groups if group.VR == "SQ" for item in group.value]
    return {element.keyword: item for item in items for element in item}


def _frame(path: Path, index: int | None, get: Attributes) -> Frame:
    instance, series_number = number(get("InstanceNumber")), number(get("SeriesNumber"))
    return Frame(
        path=path,
        number=index,
        sop_instance_uid=str(get("SOPInstanceUID") or ""),
        sop_class_uid=str(get("SOPClassUID") or ""),
        study_uid=str(get("StudyInstanceUID") or ""),
        series_uid=str(get("SeriesInstanceUID") or ""),
        series_number=None if series_number is None else int(series_number),
        frame_of_reference=str(get("FrameOfReferenceUID") or ""),
        unfit=_why_unfit(get),
        shape=(int(number(get("Rows")) or 0), int(number(get("Columns")) or 0)),
        pixel_spacing=_numbers(get("PixelSpacing"), 2),
        position=_numbers(get("ImagePositionPatient"), 3),
        orientation=_numbers(get("ImageOrientationPatient"), 6),
        rescale=(number(get("RescaleSlope")), number(get("RescaleIntercept"))),
        trigger_ms=_first(get, "TriggerTime", "NominalCardiacTriggerDelayTime", "ActualCardiacTriggerDelayTime"),
        temporal_position=_first(get, "TemporalPositionIdentifier", "TemporalPositionIndex"),
        instance=None if instance is None and index is None else (instance or 0.0, index or 0),
        acquired=_first(get, "FrameAcquisitionDateTime", "AcquisitionTime", "ContentTime"),
        heart_rate=_heart_rate(get),
    )


def _first(get: Attributes, *keywords: str) -> float | None:
    """The first of the attributes that is a number; a time of day is one that grows."""
    numbers = (number(get(keyword)) for keyword in keywords)
    return next((value for value in numbers if value is not None), None)


def _numbers(value: object, count: int) -> Vector | None:
    if not isinstance(value, MultiValue | Sequence) or isinstance(value, str) or len(value) != count:
        return None
    numbers = tuple(number(part) for part in value)
    return None if None in numbers else tuple(part for part in numbers if part is not None)


def _heart_rate(get: Attributes) -> float | None:
    """Beats a minute, from the rate itself or from the RR interval in ms; None where that is not a heart's."""
    rate, interval = number(get("HeartRate")), _first(get, "NominalInterval", "RRIntervalTimeNominal")
    for value in (rate, 60000.0 / interval if interval else None):
        if value is not None and 20.0 <= value <= 300.0:
            return value
    return None


def _why_unfit(get: Attributes) -> str:
    """Why an image cannot be part of a cine: the kind of its object, what was done to it, or what it shows."""
    if get("SOPClassUID") not in MR_IMAGES or (get("Modality") or "MR") != "MR":
        return "not MR images"
    if (get("SamplesPerPixel") or 1) != 1 or (get("PhotometricInterpretation") or "MONOCHROME2") != "MONOCHROME2":
        return "colour or inverted"
    if get("BurnedInAnnotation") == "YES":
        return "text burnt into the pixels"
    kind = [str(word).upper() for word in get("FrameType") or get("ImageType") or ()]
    if get("ComplexImageComponent") in ("PHASE", "REAL", "IMAGINARY") or PHASE_MAPS & set(kind[2:]):
        return "phase maps"
    if kind[1:2] == ["SECONDARY"]:
        return "secondary"
    return DERIVED if kind[:1] == [DERIVED.upper()] else ""
