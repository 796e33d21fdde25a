"""Which of a study's series is the cine short-axis stack."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from scripts.data.cine import MIN_PHASES, MIN_SLICES
from scripts.data.dicom.frames import DERIVED, Frame, Vector
from scripts.errors import InputError

ORIENTATION_TOLERANCE = 1e-4
"""Direction cosines that differ by less are one orientation, written with other roundings."""
POSITION_TOLERANCE_MM = 0.1


@dataclass(frozen=True)
class View:
    """Images of one orientation, from one series (or from several that share a stack), slice by slice.

    ``slices`` follow ``normal``; the images of a slice are in no order.
    """

    normal: NDArray[np.float64]
    slices: tuple[tuple[Frame, ...], ...]

    @classmethod
    def of(cls, frames: Iterable[Frame]) -> View:
        """Group frames of one orientation by their position along its normal."""
        frames = tuple(frames)
        normal = plane_normal(common_orientation(frames))
        along = sorted(((float(np.dot(frame.position or (), normal)), i) for i, frame in enumerate(frames)))
        slices: list[list[Frame]] = []
        before = -np.inf
        for position, i in along:
            if position - before > POSITION_TOLERANCE_MM:
                slices.append([])
            slices[-1].append(frames[i])
            before = position
        return cls(normal, tuple(map(tuple, slices)))

    @property
    def frames(self) -> tuple[Frame, ...]:
        return tuple(frame for frames in self.slices for frame in frames)

    @property
    def phases(self) -> int:
        """Of the typical slice."""
        return int(median(len(frames) for frames in self.slices))

    @property
    def is_stack(self) -> bool:
        return len(self.slices) >= MIN_SLICES and self.phases >= MIN_PHASES

    @property
    def series(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(frame.series_uid for frame in self.frames))

    @property
    def studies(self) -> set[str]:
        return {frame.study_uid for frame in self.frames}

    def __str__(self) -> str:
        numbers = sorted({str(frame.series_number) for frame in self.frames})
        name = "a series without number" if numbers == ["None"] else f"series {'+'.join(numbers)}"
        return f"{name} ({len(self.slices)} slice position(s) x {self.phases} phase(s))"


def find_short_axis(frames: list[Frame], series_number: int | None = None) -> View:
    """The one short-axis cine among all images of a study.

    A short-axis cine is original MR of at least ``MIN_SLICES`` parallel planes with several phases each: long-axis views
    have one to three planes, localisers several orientations. Scanners that write a series a slice are understood: then
    series of the same orientation, matrix and pixel size are joined.

    Args:
        frames: of all readable files.
        series_number: take this series, even if it is derived.

    Raises:
        InputError: no such series or several; one whose images are not all parallel.
    """
    considered = [f for f in frames if not f.unfit or (series_number is not None and f.unfit == DERIVED)]
    if series_number is not None:
        considered = [frame for frame in considered if frame.series_number == series_number]
    views = _views(considered)
    stacks = [view for view in views if view.is_stack] or [view for view in _joined(views) if view.is_stack]
    if not stacks:
        for view in views:
            if _is_part_of_stack(view, views):
                _check_parallel(view, considered)
        raise InputError(_none_found(views, frames, series_number))
    same_series = len({view.series for view in stacks}) == 1
    if len(stacks) > 1 and not same_series:
        raise InputError(_several_found(stacks))
    _check_parallel(stacks[0], considered)
    return stacks[0]


def common_orientation(frames: Iterable[Frame]) -> Vector:
    """The ImageOrientationPatient that most frames have, as it stands in their files."""
    (orientation, _), *_ = Counter(frame.orientation or () for frame in frames).most_common(1)
    return orientation


def plane_normal(orientation: Vector) -> NDArray[np.float64]:
    """Unit normal (LPS): row direction x column direction."""
    normal = np.cross(orientation[:3], orientation[3:])
    return normal / (np.linalg.norm(normal) or 1.0)


def _views(frames: Iterable[Frame]) -> list[View]:
    """Frames that have a place in space, parted by series and orientation."""
    series: dict[tuple, list[Frame]] = defaultdict(list)
    for frame in frames:
        if frame.position is not None and frame.orientation is not None:
            series[frame.study_uid, frame.series_uid].append(frame)
    return [View.of(parallel) for members in series.values() for parallel in _by_orientation(members)]


def _by_orientation(frames: Iterable[Frame]) -> list[list[Frame]]:
    groups: list[tuple[NDArray[np.float64], list[Frame]]] = []
    for frame in frames:
        orientation = np.asarray(frame.orientation)
        for reference, members in groups:
            if np.abs(orientation - reference).max() <= ORIENTATION_TOLERANCE:
                members.append(frame)
                break
        else:
            groups.append((orientation, [frame]))
    return [members for _, members in groups]


def _joined(views: list[View]) -> list[View]:
    """Cine series of few slices each, joined where study, matrix, pixel size and orientation agree."""
    alike: dict[tuple, list[Frame]] = defaultdict(list)
    for view in views:
        first = view.frames[0]
        if view.phases >= MIN_PHASES and len(view.slices) < MIN_SLICES:
            alike[first.study_uid, first.shape, first.pixel_spacing].extend(view.frames)
    return [View.of(parallel) for frames in alike.values() for parallel in _by_orientation(frames)]


def _is_part_of_stack(view: View, views: list[View]) -> bool:
    """Whether a cine series would be a stack if its slices were parallel: several of them are."""
    cines = [other for other in views if other.series == view.series and other.phases >= MIN_PHASES]
    largest = max(cines, key=lambda other: len(other.slices), default=None)
    return (
        view is largest and len(view.slices) >= 3 and sum(len(c.slices) for c in cines) >= MIN_SLICES > len(view.slices)
    )


def _check_parallel(stack: View, frames: list[Frame]) -> None:
    """Every image of the stack's series must belong to it."""
    chosen = {(frame.path, frame.number) for frame in stack.frames}
    others = [f for f in frames if f.series_uid in stack.series and (f.path, f.number) not in chosen]
    unplaced = [frame for frame in others if frame.position is None or frame.orientation is None]
    if unplaced:
        raise InputError(
            f"{stack} holds {len(unplaced)} image(s) without a readable ImagePositionPatient or ImageOrientationPatient; "
            "expected one in every image: export the series again, it may be damaged."
        )
    if others:
        normals = [plane_normal(frame.orientation or ()) for frame in others]
        angle = max(float(np.degrees(np.arccos(np.clip(abs(n @ stack.normal), 0.0, 1.0)))) for n in normals)
        raise InputError(
            f"{stack} mixes orientations: {len(others)} more image(s) of it are not oriented as the {len(stack.frames)} others "
            f"(planes up to {angle:.2g} degrees apart); expected parallel planes: part the series by "
            "ImageOrientationPatient and give the short-axis part alone."
        )


def _none_found(views: list[View], frames: list[Frame], series_number: int | None) -> str:
    seen = _seen(views)
    unplaced = sum(not f.unfit and (f.position is None or f.orientation is None) for f in frames)
    seen += [f"{unplaced} image(s) without position or orientation"] if unplaced else []
    shown = "; ".join(seen[:12]) + (f"; and {len(seen) - 12} more" if len(seen) > 12 else "")
    named = "" if series_number is None else f" in series {series_number}"
    return (
        f"no short-axis cine was found{named}: expected one series of at least {MIN_SLICES} parallel slices with at least "
        f"{MIN_PHASES} phases each, original MR images; came: {shown or 'no such image'}. {_hint(views, frames)}"
    )


def _seen(views: list[View]) -> list[str]:
    """Each series once, in the order of their numbers."""
    series: dict[tuple, list[View]] = defaultdict(list)
    for view in sorted(views, key=lambda view: (view.frames[0].series_number or 0, -len(view.frames))):
        series[view.series].append(view)
    return [
        f"{members[0]}{f' and {len(members) - 1} more orientation(s)' if len(members) > 1 else ''}"
        for members in series.values()
    ]


def _hint(views: list[View], frames: list[Frame]) -> str:
    """What to do, by what comes closest to a short-axis cine."""
    if any(len(view.slices) >= MIN_SLICES for view in views):
        return "The stack has a single phase: export the whole cine, not one phase of it."
    few = max((len(view.slices) for view in views if view.phases >= MIN_PHASES), default=0)
    if 1 < few < MIN_SLICES:
        return f"The {few} slices found do not cover a ventricle: give a study with the whole stack."
    if any(frame.unfit == DERIVED for frame in frames):
        return "If the cine is among the derived images, name its series with --series."
    return "Give the folder of the whole study, exported with its cine series."


def _several_found(stacks: list[View]) -> str:
    studies = len(set().union(*(stack.studies for stack in stacks)))
    where = f" in {studies} different studies" if studies > 1 else ""
    same_number = len({stack.frames[0].series_number for stack in stacks}) < len(stacks)
    remedy = "give a folder that holds one of them" if same_number or studies > 1 else "name the series with --series N"
    return (
        f"{len(stacks)} series{where} could be the short-axis cine, expected one: {'; '.join(map(str, stacks))}. To choose, "
        f"{remedy}."
    )
