"""Frames of an oblique cine without files, as the tests of series and grids need them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scripts.data.dicom.frames import Frame

ROW, COLUMN = np.array([0.8, 0.6, 0.0]), np.array([0.0, 0.0, -1.0])
NORMAL = np.cross(ROW, COLUMN)
ORIGIN = np.array([7.0, -20.0, 35.0])


def frame(position: float, phase: int, series: int = 5, /, **changes: Any) -> Frame:
    """A frame ``position`` mm along the normal, 40 ms after the one before."""
    made = Frame(
        path=Path(f"{series}-{position}-{phase}"),
        number=None,
        sop_instance_uid=f"1.{series}.{int(10 * position)}.{phase}",
        sop_class_uid="",
        study_uid="1",
        series_uid=f"1.{series}",
        series_number=series,
        frame_of_reference="1",
        unfit="",
        shape=(4, 5),
        pixel_spacing=(2.0, 1.5),
        position=tuple(position * NORMAL + ORIGIN),
        orientation=(*ROW, *COLUMN),
        rescale=(None, None),
        trigger_ms=40.0 * phase,
        temporal_position=None,
        instance=(phase, 0),
        acquired=None,
        heart_rate=None,
    )
    return replace(made, **changes)


def stack(slices: int = 6, phases: int = 4, series: int = 5, **changes: Any) -> list[Frame]:
    """A whole cine of slices 8 mm apart."""
    return [frame(8.0 * s, p, series, **changes) for s in range(slices) for p in range(phases)]


def turned(degrees: float) -> tuple[float, ...]:
    """ImageOrientationPatient turned about the columns."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (*(cos * ROW + sin * NORMAL), *COLUMN)
