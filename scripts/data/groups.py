"""The five groups of hearts in the phantom, healthy and ill, and how one heart of a group is drawn.

The groups are those of ACDC: NOR, MINF, DCM, HCM and RV (Bernard et al., IEEE Transactions on Medical Imaging
37:2514, 2018).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from scripts.data.heart import HeartShape
from scripts.data.voxels import Stack


@dataclass(frozen=True)
class GroupRanges:
    """What a group's hearts look like: each pair is the range of a uniform draw.

    Volumes in mL for a body surface of 1.9 m2, ejection fractions in [0, 1], longitudinal shortening in mm;
    ``elongation`` is the cavity's length over the cube root of its volume.
    """

    lv_ml: tuple[float, float]
    lv_ejection: tuple[float, float]
    myocardium_ml: tuple[float, float]
    rv_ml: tuple[float, float]
    rv_ejection: tuple[float, float]
    shortening: tuple[float, float]
    elongation: tuple[float, float]
    septal_thickening: tuple[float, float] = (0.0, 0.05)
    septal_flattening: tuple[float, float] = (0.0, 0.03)
    rv_span: tuple[float, float] = (1.35, 1.6)

    def draw(self, rng: np.random.Generator) -> dict[str, float]:
        """One value of each range, by its name."""
        return {field.name: float(rng.uniform(*getattr(self, field.name))) for field in fields(self)}


RANGES = {
    "NOR": GroupRanges((110, 150), (0.56, 0.67), (85, 115), (120, 170), (0.50, 0.63), (10, 15), (1.52, 1.66)),
    "MINF": GroupRanges((145, 205), (0.22, 0.37), (100, 140), (95, 140), (0.47, 0.60), (5, 9), (1.45, 1.58)),
    "DCM": GroupRanges((215, 310), (0.10, 0.28), (125, 180), (130, 210), (0.20, 0.42), (3, 6), (1.38, 1.50)),
    "HCM": GroupRanges(
        (105, 150), (0.58, 0.74), (150, 220), (100, 140), (0.50, 0.63), (8, 12), (1.58, 1.72), (0.1, 0.28)
    ),
    "RV": GroupRanges(
        (90, 125), (0.52, 0.62), (70, 95), (170, 235), (0.18, 0.37), (6, 10), (1.52, 1.66), (0.0, 0.03),
        (0.10, 0.20), (1.6, 1.8),
    ),
}  # fmt: skip
GROUPS = tuple(RANGES)


def draw_heart(
    rng: np.random.Generator,
    ranges: GroupRanges,
    size: float,
    slices: int | None,
    infarct: bool,
) -> tuple[HeartShape, HeartShape, Stack]:
    """Draw a heart at end-diastole and end-systole, and the stack of slices planned on it.

    Volumes scale with ``size`` (1 for a body surface of 1.9 m2). The stack has ``slices`` or up to 12 slices.
    The valve planes descend by whole half-slices, so that the slices tile the ventricles in both phases: a
    basal slice is ventricle, or half of it is, and counting voxels finds the volume.
    """
    draw = ranges.draw(rng)
    full = {"lv": draw["lv_ml"] * size, "myocardium": draw["myocardium_ml"] * size, "rv": draw["rv_ml"] * size}
    emptied = {
        "lv": full["lv"] * (1.0 - draw["lv_ejection"]),
        "myocardium": full["myocardium"],
        "rv": full["rv"] * (1.0 - draw["rv_ejection"]),
    }
    length = draw["elongation"] * (1000.0 * full["lv"]) ** (1.0 / 3.0)
    apex = length + 0.055 * full["myocardium"] ** 0.5 * float(rng.uniform(9.0, 12.0))
    stack = Stack.draw(rng, apex, slices)
    diastole = _draw_diastole(rng, draw, length, apex, infarct).fitted(full)
    systole = _draw_systole(rng, draw, diastole, 0.5 * stack.spacing)
    return diastole, systole.fitted(emptied, akinetic_from=diastole if infarct else None), stack


def _draw_diastole(
    rng: np.random.Generator,
    draw: dict[str, float],
    length: float,
    apex: float,
    infarct: bool,
) -> HeartShape:
    """A heart with its apex at ``length`` (cavity) and ``apex`` (wall) mm; its radii are only a first guess."""
    return HeartShape(
        lv_base=0.0,
        endo_apex=length,
        epi_apex=apex,
        endo_radius=25.0,
        epi_radius=33.0,
        rv_base=0.0,
        rv_apex=length * float(rng.uniform(0.88, 0.97)),
        rv_width=25.0,
        rv_span=draw["rv_span"],
        tilt=float(rng.choice([-1.0, 1.0]) * rng.uniform(0.06, 0.1)),
        oval=float(rng.uniform(0.0, 0.06)),
        oval_angle=float(rng.uniform(0.0, np.pi)),
        septal_thickening=draw["septal_thickening"],
        septal_flattening=draw["septal_flattening"],
        papillary_turn=float(rng.uniform(-0.35, 0.35)),
        infarct_angle=float(rng.uniform(-np.pi, np.pi)),
        infarct_endo=0.07 if infarct else 0.0,
    )


def _draw_systole(
    rng: np.random.Generator,
    draw: dict[str, float],
    diastole: HeartShape,
    half: float,
) -> HeartShape:
    """``diastole`` with valve planes and apex where they are at end-systole, still with the radii it had.

    The valve planes descend by whole multiples of ``half`` (mm, half the distance of two slices), at least one.
    """
    return replace(
        diastole,
        lv_base=half * max(1, round(draw["shortening"] / half)),
        rv_base=half * max(1, round(1.25 * draw["shortening"] / half)),
        endo_apex=diastole.endo_apex - float(rng.uniform(2.0, 5.0)),
        epi_apex=diastole.epi_apex - 1.0,
        rv_apex=diastole.rv_apex - 2.0,
    )
