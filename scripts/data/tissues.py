"""What the tissues of the phantom look like in balanced steady-state free precession (bSSFP) at 1.5 T.

T1 and T2 after Stanisz et al., Magnetic Resonance in Medicine 54:507 (2005; blood, heart and skeletal muscle),
and de Bazelaire et al., Radiology 230:652 (2004; liver, spleen, fat, marrow), at 1.5 T, rounded. Lung and fluid
(liquor, bile) are round guesses. Proton densities are approximate: the lung is mostly air, and the liver is
lowered for the magnetisation transfer that the signal equation omits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.data.parts import Part


@dataclass(frozen=True)
class Tissue:
    """Relaxation times in ms at 1.5 T and proton density relative to water."""

    t1: float
    t2: float
    proton_density: float


_BLOOD = Tissue(1441.0, 290.0, 0.85)
_HEART_MUSCLE = Tissue(1030.0, 40.0, 0.80)
_TISSUES = {
    Part.OUTSIDE: Tissue(1000.0, 50.0, 0.0),
    Part.FAT: Tissue(343.0, 58.0, 0.95),
    Part.MUSCLE: Tissue(1008.0, 44.0, 0.75),
    Part.MARROW: Tissue(549.0, 49.0, 0.60),
    Part.LUNG: Tissue(1200.0, 40.0, 0.15),
    Part.LIVER: Tissue(586.0, 46.0, 0.60),
    Part.SPLEEN: Tissue(1057.0, 79.0, 0.80),
    Part.FLUID: Tissue(3000.0, 900.0, 0.95),
    Part.VESSEL: _BLOOD,
    Part.RV_BLOOD: _BLOOD,
    Part.RV_TRABECULA: _HEART_MUSCLE,
    Part.THIN_WALL: _HEART_MUSCLE,
    Part.LV_WALL: _HEART_MUSCLE,
    Part.LV_BLOOD: _BLOOD,
    Part.PAPILLARY: _HEART_MUSCLE,
}


def bssfp_signal(tissue: Tissue, flip_angle: float, repetition_time: float = 3.0) -> float:
    """Steady-state signal of on-resonant balanced SSFP with echo time = repetition time / 2.

    Bernstein, King and Zhou, Handbook of MRI Pulse Sequences (2004), section 14.1. ``flip_angle`` in degrees,
    ``repetition_time`` in ms; the result is relative to the magnetisation of water.
    """
    e1, e2 = np.exp(-repetition_time / tissue.t1), np.exp(-repetition_time / tissue.t2)
    angle = np.deg2rad(flip_angle)
    steady = np.sin(angle) * (1.0 - e1) / (1.0 - (e1 - e2) * np.cos(angle) - e1 * e2)
    return float(tissue.proton_density * steady * np.sqrt(e2))


def part_signals(flip_angle: float, blood_level: float) -> NDArray[np.float32]:
    """Brightness of each :class:`Part`, (number of parts,), at ``flip_angle`` degrees; blood at ``blood_level``."""
    relative = np.array([bssfp_signal(_TISSUES[part], flip_angle) for part in Part])
    return (relative * (blood_level / relative[Part.LV_BLOOD])).astype(np.float32)
