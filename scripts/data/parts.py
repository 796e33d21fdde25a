"""What the phantom is made of, and the polar look-up with which its closed curves are painted.

A plane of the phantom is an array of :class:`Part`, one a point. Structures are bounded by curves
"distance from an origin, over the angle"; the curves are computed at :data:`ANGLES` and looked up there.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
PartArray = NDArray[np.uint8]

ANGLES = (np.arange(2048) + 0.5) * (2.0 * np.pi / 2048)  # rad; curves are looked up at these


class Part(IntEnum):
    """What a point of the scene belongs to; ``OUTSIDE`` means "not heart", and air where there is no body."""

    OUTSIDE = 0
    FAT = 1
    MUSCLE = 2
    MARROW = 3
    LUNG = 4
    LIVER = 5
    SPLEEN = 6
    FLUID = 7
    VESSEL = 8
    RV_BLOOD = 9
    RV_TRABECULA = 10
    THIN_WALL = 11
    LV_WALL = 12
    LV_BLOOD = 13
    PAPILLARY = 14


def polar(x: FloatArray, y: FloatArray) -> tuple[FloatArray, NDArray[np.intp]]:
    """Distance of each point from the origin (float32), and the index of its direction among :data:`ANGLES`.

    ``x``, ``y`` and both results have the same shape; distances are in the unit of ``x`` and ``y``.
    """
    turns = np.arctan2(y, x) * (ANGLES.size / (2.0 * np.pi))
    return np.hypot(x, y).astype(np.float32), np.floor(turns).astype(np.intp) % ANGLES.size
