"""Thickness of the left ventricle's wall in the segments 1 to 16 of the American Heart Association.

The 17-segment model: Cerqueira et al., Circulation 105:539, 2002. Slices with a closed ring of myocardium are divided
into basal, mid and apical thirds. Within a slice the segments are sectors of 60 degrees (basal, mid) or 90 degrees
(apical) around the cavity's centre, laid symmetrically about the middle of the septum, which is the middle between the
two points where the right ventricle's cavity stops touching the wall (its insertion points). Segment 17, the apical
cap, is not seen in short-axis slices. Thickness is the distance in the plane from each point of one border to the
nearest of the other, from both borders; where the wall runs oblique to the plane, near the apex, it comes out too thick.

Two directions are needed to name a segment. From base to apex: the wall's outer cross-section tapers towards the apex,
and the right ventricle ends before the left one does (:func:`base_first`). Anterior: with ``s`` from the cavity's centre
to the middle of the septum and ``a`` from base to apex, both in patient space, it is ``s x a``; so it must be known
whether the voxel axes (x, y, slice) are right-handed in patient space (:func:`right_handed`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, gaussian_filter1d
from scipy.spatial import KDTree
from skimage.measure import find_contours

from scripts.clinical.structures import Structures

SEGMENTS = (
    "basal anterior", "basal anteroseptal", "basal inferoseptal", "basal inferior", "basal inferolateral",
    "basal anterolateral", "mid anterior", "mid anteroseptal", "mid inferoseptal", "mid inferior", "mid inferolateral",
    "mid anterolateral", "apical anterior", "apical septal", "apical inferior", "apical lateral",
)  # fmt: skip
"""Names of the segments 1 to 16."""
LARGEST_OPENING = 0.05
"""Share of the cavity's border without myocardium up to which a ring counts as closed."""
SEPTUM_DEGREES = (30.0, 200.0)
"""Angle that the septum may span; outside, what touches the wall is not the whole right ventricle."""
SMALLEST_CAVITY_PIXELS = 9
POINTS = 360  # on a border
SMOOTHING_MM = 1.5  # along a border, but at least a pixel: labels come from networks' pixels of about this size
CLEAR_DIRECTION = 0.15  # of the score of base_first; at least 0.2 at ED and ES in each of 80 patients of ACDC


@dataclass(frozen=True)
class WallThickness:
    """Mean wall thickness in mm by segment.

    Attributes:
        mm: of the segments 1 to 16; None where there is no slice or no wall of it.
        slices: slices (from 0) of the basal, mid and apical third, base first; empty if none were measured.
        reason: why nothing could be measured; empty if something was.
    """

    mm: tuple[float | None, ...] = (None,) * 16
    slices: tuple[tuple[int, ...], ...] = field(default=((), (), ()))
    reason: str = ""


@dataclass(frozen=True)
class _Ring:
    """A slice's wall: direction (rad, from x to y) and thickness (mm) of points on both borders; the septum's middle."""

    angles: NDArray[np.float64]
    mm: NDArray[np.float64]
    septum: float | None


def wall_thickness(
    labels: NDArray[np.integer], spacing: Sequence[float], structures: Structures, right_handed: bool | None
) -> WallThickness:
    """Wall thickness at one phase.

    Args:
        labels: (x, y, S) integer.
        spacing: mm between voxel centres in x and y and between slice planes.
        structures: the label values.
        right_handed: whether the voxel axes (x, y, slice) are right-handed in patient space; None if that cannot be
            told (as from ACDC's affines): anterior and inferior are then unknown, and nothing is measured.
    """
    if right_handed is None:
        return WallThickness(reason="the images do not say how they lie in the patient")
    first = base_first(labels, structures)
    if first is None:
        return WallThickness(reason="base and apex cannot be told apart")
    rings = _rings(labels, spacing, structures)
    order = sorted(rings, reverse=not first)
    if len(order) < 3:
        return WallThickness(reason="fewer than three slices have a closed ring of myocardium")
    if all(ring.septum is None for ring in rings.values()):
        return WallThickness(reason="the right ventricle's insertion points cannot be found")
    turn = -1.0 if right_handed == first else 1.0
    thirds = tuple(tuple(int(index) for index in third) for third in np.array_split(order, 3))
    mm: list[float | None] = []
    for level, third in enumerate(thirds):
        mm += _level([rings[index] for index in third], list(rings.values()), turn, sectors=4 if level == 2 else 6)
    return WallThickness(tuple(mm), thirds)


def right_handed(affine: NDArray[np.float64]) -> bool:
    """Whether voxel axes are right-handed in patient space: affine (4, 4), voxel index to RAS (or LPS) mm."""
    return bool(np.linalg.det(affine[:3, :3]) > 0)


def base_first(labels: NDArray[np.integer], structures: Structures) -> bool | None:
    """Whether slice 0 of labels (x, y, S) is the basal end; None if it cannot be told.

    Two signs are added: by how much of its maximum the area within the epicardium falls along the stack, and how far
    the right ventricle's centre of mass lies before the left one's, as a share of the stack's length.
    """
    wall = np.isin(labels, (structures.myocardium, structures.lv)).sum((0, 1)).astype(float)
    rv = (labels == structures.rv).sum((0, 1)).astype(float)
    (found,) = np.nonzero(wall)
    if len(found) < 3:
        return None
    index = np.arange(len(wall))
    score = -np.polyfit(found, wall[found] / wall.max(), 1)[0] * len(found)
    if rv.any():
        score += 2 * (np.average(index, weights=wall) - np.average(index, weights=rv)) / len(found)
    return bool(score > 0) if abs(score) > CLEAR_DIRECTION else None


def opening(cavity: NDArray[np.bool_], myocardium: NDArray[np.bool_]) -> float:
    """Share of the cavity's border, in a slice (x, y), that is not against myocardium; 0 if there is no cavity."""
    cavity, myocardium = np.pad(cavity, 1), np.pad(myocardium, 1)
    border = open_ = 0
    for axis in (0, 1):
        for step in (-1, 1):
            edge = cavity & ~np.roll(cavity, step, axis)
            border += int(edge.sum())
            open_ += int((edge & ~np.roll(myocardium, step, axis)).sum())
    return open_ / border if border else 0.0


def _rings(labels: NDArray[np.integer], spacing: Sequence[float], structures: Structures) -> dict[int, _Ring]:
    rings = {}
    for index in range(labels.shape[2]):
        plane = labels[:, :, index]
        cavity, myocardium = plane == structures.lv, plane == structures.myocardium
        if cavity.sum() < SMALLEST_CAVITY_PIXELS or opening(cavity, myocardium) > LARGEST_OPENING:
            continue
        inner = _border(binary_fill_holes(cavity), spacing)
        outer = _border(binary_fill_holes(cavity | myocardium), spacing)
        centre = inner.mean(0)
        points = np.concatenate([inner, outer])
        distances = np.concatenate([KDTree(outer).query(inner)[0], KDTree(inner).query(outer)[0]])
        septum = _septum(outer, centre, plane == structures.rv, spacing)
        rings[index] = _Ring(_angles(points - centre), distances, septum)
    return rings


def _border(mask: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float64]:
    """The longest border of a mask (x, y) as (POINTS, 2) mm, evenly spaced, without the pixels' staircase."""
    contours = find_contours(np.pad(mask, 1).astype(float), 0.5)
    contour = max(contours, key=len) * np.asarray(spacing[:2])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(contour, axis=0).T))])
    at = np.arange(POINTS) * along[-1] / POINTS
    even = np.stack([np.interp(at, along, contour[:, axis]) for axis in (0, 1)], axis=1)
    width = max(SMOOTHING_MM, *spacing[:2]) * POINTS / along[-1]
    return gaussian_filter1d(even, width, axis=0, mode="wrap")


def _angles(offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.arctan2(offsets[:, 1], offsets[:, 0])


def _septum(
    outer: NDArray[np.float64], centre: NDArray[np.float64], rv: NDArray[np.bool_], spacing: Sequence[float]
) -> float | None:
    """Direction of the septum's middle (rad) from the insertion points: where the contact with the RV begins and ends."""
    if not rv.any():
        return None
    cavity = (np.argwhere(rv) + 1.0) * np.asarray(spacing[:2])  # _border counts from a padded pixel
    touching = KDTree(cavity).query(outer)[0] <= 1.5 * max(spacing[:2])
    apart = np.flatnonzero(~touching)
    if not touching.any() or not len(apart):
        return None
    gaps = np.diff(np.append(apart, apart[0] + POINTS))  # the longest stretch of contact lies in the widest gap
    begin = int(apart[np.argmax(gaps)]) + 1
    stretch = np.arange(begin, begin + int(gaps.max()) - 1) % POINTS
    angles = np.unwrap(_angles(outer[stretch] - centre))
    span = abs(float(angles[-1] - angles[0]))
    if not SEPTUM_DEGREES[0] <= np.degrees(span) <= SEPTUM_DEGREES[1]:
        return None
    return float(0.5 * (angles[0] + angles[-1]))


def _level(rings: list[_Ring], everywhere: list[_Ring], turn: float, sectors: int) -> list[float | None]:
    """Mean thickness in the sectors of a third, anterior first, then by the septum and the inferior wall.

    A slice without insertion points takes the septum of its third, or else of the whole ventricle.
    """
    known = [ring.septum for ring in rings if ring.septum is not None]
    known = known or [ring.septum for ring in everywhere if ring.septum is not None]
    middle = float(np.angle(np.mean(np.exp(1j * np.asarray(known)))))
    width = 360.0 / sectors
    numbers, mm = [], []
    for ring in rings:
        septum = middle if ring.septum is None else ring.septum
        anterior_up = np.degrees(turn * (ring.angles - septum))  # 0 mid-septum, 90 anterior, 180 lateral
        numbers.append(np.floor(np.mod(90.0 + 0.5 * width - anterior_up, 360.0) / width).astype(int) % sectors)
        mm.append(ring.mm)
    number, thickness = np.concatenate(numbers), np.concatenate(mm)
    return [float(thickness[number == n].mean()) if (number == n).any() else None for n in range(sectors)]
