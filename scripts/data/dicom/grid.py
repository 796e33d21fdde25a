"""From the images of a short-axis stack to a complete grid of phases and slices, and its geometry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.data.dicom.files import StudyFiles
from scripts.data.dicom.frames import Frame
from scripts.data.dicom.series import POSITION_TOLERANCE_MM, View, common_orientation
from scripts.errors import InputError

GAP_TOLERANCE = 0.01
SKEW_TOLERANCE = 1e-3
"""Of the row and column directions: length against 1, and product against 0."""
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class PhaseGrid:
    """``frames`` [phase][slice]; ``affine`` (4, 4) voxel index to RAS mm; ``times_ms`` (P, S) or None; ``ordered_by`` the
    attribute that the phases follow."""

    frames: tuple[tuple[Frame, ...], ...]
    affine: NDArray[np.float64]
    times_ms: NDArray[np.float64] | None
    ordered_by: str


ORDERS: dict[str, Callable[[Frame], float | tuple[float, int] | None]] = {
    "TriggerTime": lambda frame: frame.trigger_ms,
    "TemporalPositionIdentifier": lambda frame: frame.temporal_position,
    "InstanceNumber": lambda frame: frame.instance,
    "AcquisitionTime": lambda frame: frame.acquired,
}
"""What phases are ordered by, the best first."""


def phase_grid(stack: View, files: StudyFiles) -> PhaseGrid:
    """Order phases within each slice and verify that nothing is missing.

    Phases are ranked: trigger times differ between slices, each of which was acquired in heartbeats of its own.

    Raises:
        InputError: an instance twice; images of different size; no pixel size; slices of different numbers of phases,
            named by their position and what they lack; planes that are not one regular stack; no order in time.
    """
    _check_duplicates(stack, files)
    _check_pixels(stack.frames, files)
    _check_complete(stack)
    ordered_by = _order(stack)
    key = ORDERS[ordered_by]
    slices = [sorted(frames, key=key) for frames in stack.slices]  # type: ignore[arg-type]
    phases = tuple(zip(*slices, strict=True))
    times = None
    if ordered_by == "TriggerTime":
        times = np.array([[frame.trigger_ms for frame in phase] for phase in phases], dtype=np.float64)
    return PhaseGrid(phases, _affine(stack), times, ordered_by)


def _check_duplicates(stack: View, files: StudyFiles) -> None:
    first: dict[tuple[str, int | None], Frame] = {}
    for frame in stack.frames:
        other = first.setdefault((frame.sop_instance_uid, frame.number), frame)
        if other is not frame:
            raise InputError(
                f"two files of {stack} are the same instance (SOPInstanceUID): {files.name(other.path)} and "
                f"{files.name(frame.path)}. Expected each once: remove one of them."
            )


def _check_pixels(frames: tuple[Frame, ...], files: StudyFiles) -> None:
    """One matrix, one positive pixel size, upright directions, no blank images."""
    for attribute, values in (
        ("Rows and Columns", {frame.shape for frame in frames}),
        ("PixelSpacing", {frame.pixel_spacing for frame in frames}),
    ):
        if len(values) > 1:
            shown = ", ".join(str(value) for value in sorted(values, key=str)[:4])
            raise InputError(
                f"the images of the short-axis series differ in {attribute}: {shown}. Expected one value in all: the series "
                "mixes acquisitions, or was edited; export it again, or part it."
            )
    first = frames[0]
    if first.pixel_spacing is None or min(first.pixel_spacing) <= 0:
        raise InputError(
            f"the short-axis series has no usable PixelSpacing: expected two positive lengths in mm, came "
            f"{first.pixel_spacing or 'nothing'} ({files.name(first.path)}). Without it no volume can be measured: export the "
            "series again from the scanner or the archive."
        )
    if min(first.shape) < 1:
        raise InputError(
            f"{files.name(first.path)} has no Rows or Columns; it may be damaged: export the series again."
        )
    if any(frame.rescale[0] == 0 for frame in frames):
        raise InputError(
            "RescaleSlope is 0 in images of the short-axis series: they are blank; export the series again."
        )
    directions = np.reshape(common_orientation(frames), (2, 3))
    if np.abs(directions @ directions.T - np.eye(2)).max() > SKEW_TOLERANCE:
        raise InputError(
            "ImageOrientationPatient of the short-axis series is not two unit vectors at right angles: the geometry cannot "
            "be trusted; export the series again."
        )


def _check_complete(stack: View) -> None:
    """Every slice has as many phases as most have."""
    counts = [len(frames) for frames in stack.slices]
    (expected, _), *_ = Counter(counts).most_common(1)
    odd = [
        (frames, position)
        for frames, position in zip(stack.slices, _along(stack), strict=True)
        if len(frames) != expected
    ]
    if odd:
        listed = "; ".join(
            f"the slice at {position:.1f} mm has {len(frames)}{_gap(frames, expected)}" for frames, position in odd[:5]
        )
        more = f"; and {len(odd) - 5} more slices" if len(odd) > 5 else ""
        raise InputError(
            f"{stack} is not complete: expected {expected} phases in each of {len(counts)} slices, but {listed}{more} "
            "(positions along the plane normal). Fetch the missing images, or remove what is there twice."
        )


def _gap(frames: tuple[Frame, ...], expected: int) -> str:
    """Where in time a slice lacks phases, if its trigger times tell."""
    times = sorted(frame.trigger_ms for frame in frames if frame.trigger_ms is not None)
    steps = np.diff(times)
    if len(frames) > expected or len(times) < max(3, len(frames)):
        return ""
    widest = int(steps.argmax())
    if steps[widest] > 1.5 * np.median(steps):
        return f" (a gap between {times[widest]:.0f} and {times[widest + 1]:.0f} ms)"
    return f" (from {times[0]:.0f} to {times[-1]:.0f} ms without a gap: the first or last is missing)"


def _order(stack: View) -> str:
    """The first attribute that tells all images of each slice apart.

    Trigger times that are the same in some images of a slice and not in others are two acquisitions in one series: the
    numbers of the images must not order them.
    """
    for name, key in ORDERS.items():
        if all(None not in (keys := {key(f) for f in frames}) and len(keys) == len(frames) for frames in stack.slices):
            return name
        if name == "TemporalPositionIdentifier" and (twice := _repeated_times(stack)):
            raise InputError(
                f"{stack} holds several images of one slice with the same TriggerTime ({twice}), and nothing that tells "
                "their phases apart: it may hold two acquisitions. Part the series, and give one."
            )
    raise InputError(
        f"the phases of {stack} cannot be ordered: expected {', '.join(ORDERS)} to differ between the images of a slice, and "
        "none does. Export the series again with these attributes."
    )


def _repeated_times(stack: View) -> str:
    for frames, position in zip(stack.slices, _along(stack), strict=True):
        counts = Counter(frame.trigger_ms for frame in frames if frame.trigger_ms is not None)
        if 1 < len(counts) < sum(counts.values()):
            time, _ = counts.most_common(1)[0]
            return f"the slice at {position:.1f} mm, {time:g} ms"
    return ""


def _along(stack: View) -> NDArray[np.float64]:
    """Position of each slice along the normal, mm."""
    return _origins(stack.slices) @ stack.normal


def _origins(slices: Iterable[tuple[Frame, ...]]) -> NDArray[np.float64]:
    """(S, 3) mm: ImagePositionPatient of each slice, the median of its phases."""
    return np.array([np.median([frame.position for frame in frames], axis=0) for frames in slices], dtype=np.float64)


def _affine(stack: View) -> NDArray[np.float64]:
    """Voxel index (column, row, slice) to RAS mm (PS3.3, equation C.7.6.2.1-1, with the slices as third axis)."""
    origins = _origins(stack.slices)
    for frames, origin in zip(stack.slices, origins, strict=True):
        shift = max(float(np.linalg.norm(np.subtract(frame.position or (), origin))) for frame in frames)
        if shift > POSITION_TOLERANCE_MM:
            raise InputError(
                f"the images of the slice at {origin @ stack.normal:.1f} mm of {stack} are shifted against each other by up "
                f"to {shift:.2f} mm; expected one position in all phases: the series mixes acquisitions; part it."
            )
    _check_regular(stack, origins)
    orientation = np.asarray(common_orientation(stack.frames))
    row_distance, column_distance = stack.frames[0].pixel_spacing or (0.0, 0.0)
    affine = np.eye(4)
    affine[:3, 0] = orientation[:3] * column_distance
    affine[:3, 1] = orientation[3:] * row_distance
    affine[:3, 2] = (origins[-1] - origins[0]) / (len(origins) - 1)
    affine[:3, 3] = origins[0]
    return LPS_TO_RAS @ affine


def _check_regular(stack: View, origins: NDArray[np.float64]) -> None:
    """One distance between neighbouring planes, and no shift within them."""
    along = origins @ stack.normal
    gaps = np.diff(along)
    typical = float(np.median(gaps))
    odd = [i for i, gap in enumerate(gaps) if abs(gap - typical) > max(GAP_TOLERANCE * typical, POSITION_TOLERANCE_MM)]
    if odd:
        listed = ", ".join(f"{gaps[i]:.2f} mm between {along[i]:.1f} and {along[i + 1]:.1f} mm" for i in odd[:5])
        raise InputError(
            f"the slices of {stack} are not equally spaced: expected {typical:.2f} mm, but {listed} (positions along the plane "
            "normal). A slice is missing or was acquired again elsewhere: fetch or remove it."
        )
    sideways = (origins - origins[0]) - np.outer(along - along[0], stack.normal)
    shift = float(np.linalg.norm(sideways, axis=1).max())
    if shift > POSITION_TOLERANCE_MM:
        raise InputError(
            f"the slices of {stack} are shifted sideways by up to {shift:.2f} mm: expected a straight stack. Use a series "
            "whose slices were planned together."
        )
