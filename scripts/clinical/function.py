"""Cardiac function from labels: volumes in every phase, end-diastole and end-systole, ejection fraction, mass, output.

Volumes are sums of voxels (the disc summation of short-axis cine MR). End-diastole and end-systole are the largest and
the smallest volume of the left ventricle's cavity, taken from the curve as measured. A smoothed curve would be the
wrong basis: it lowers the maximum and raises the minimum, so that every ejection fraction comes out too low, the more
so the fewer phases there are. A phase that is wrong is not smoothed away either: it is found by the checks in
``scripts.clinical.quality``. The right ventricle is measured at the left one's phases, so that both stroke volumes
belong to the same interval; its own extremes stand beside them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.clinical.structures import Structures
from scripts.errors import InputError

DENSITY_G_PER_ML = 1.05
"""Of myocardium."""
HEART_RATE_PER_MIN = (20.0, 250.0)
HEIGHT_M = (0.4, 2.5)
WEIGHT_KG = (2.0, 350.0)
"""What a living person can have; anything outside is a mistake of a header (a height in cm, a weight of 0)."""


@dataclass(frozen=True)
class Phases:
    """End-diastole and end-systole, counted from 0, and who chose each: "curve", "study" or "user"."""

    ed: int
    es: int
    ed_chosen_by: str = "curve"
    es_chosen_by: str = "curve"


@dataclass(frozen=True)
class CardiacFunction:
    """Everything measured in one study; what is unknown is None.

    Attributes:
        lv_ml, rv_ml, myocardium_ml: volume in each of the P phases, mL.
        phases: end-diastole (ED) and end-systole (ES).
        heart_rate_per_min: beats a minute, None if unknown or impossible.
        body_surface_m2: m2, None if unknown.
    """

    lv_ml: tuple[float, ...]
    rv_ml: tuple[float, ...]
    myocardium_ml: tuple[float, ...]
    phases: Phases
    heart_rate_per_min: float | None = None
    body_surface_m2: float | None = None

    @property
    def lv_edv_ml(self) -> float:
        return self.lv_ml[self.phases.ed]

    @property
    def lv_esv_ml(self) -> float:
        return self.lv_ml[self.phases.es]

    @property
    def lv_sv_ml(self) -> float:
        return self.lv_edv_ml - self.lv_esv_ml

    @property
    def lv_ef_percent(self) -> float | None:
        return _ratio(100 * self.lv_sv_ml, self.lv_edv_ml)

    @property
    def rv_edv_ml(self) -> float:
        return self.rv_ml[self.phases.ed]

    @property
    def rv_esv_ml(self) -> float:
        return self.rv_ml[self.phases.es]

    @property
    def rv_sv_ml(self) -> float:
        return self.rv_edv_ml - self.rv_esv_ml

    @property
    def rv_ef_percent(self) -> float | None:
        return _ratio(100 * self.rv_sv_ml, self.rv_edv_ml)

    @property
    def rv_own_phases(self) -> Phases:
        """The phases of the right ventricle's own largest and smallest volume."""
        return choose_phases(self.rv_ml)

    @property
    def rv_largest_ml(self) -> float:
        return max(self.rv_ml)

    @property
    def rv_smallest_ml(self) -> float:
        return min(self.rv_ml)

    @property
    def lv_mass_g(self) -> float:
        """Mass of the myocardium at end-diastole."""
        return DENSITY_G_PER_ML * self.myocardium_ml[self.phases.ed]

    @property
    def cardiac_output_l_min(self) -> float | None:
        """Stroke volume of the left ventricle times heart rate."""
        return None if self.heart_rate_per_min is None else self.lv_sv_ml * self.heart_rate_per_min / 1000

    def indexed(self, quantity: str) -> float | None:
        """A quantity by body surface: mL/m2, g/m2 or L/min/m2; None if one of both is unknown."""
        value = getattr(self, quantity)
        return None if value is None else _ratio(value, self.body_surface_m2)


@dataclass(frozen=True)
class Row:
    """One line of a report: ``key`` for machines (and reference ranges), ``name`` for people; ``value`` in ``unit``."""

    key: str
    name: str
    value: float | None
    unit: str


QUANTITIES = {
    "lv_edv_ml": ("LV end-diastolic volume", "mL"),
    "lv_esv_ml": ("LV end-systolic volume", "mL"),
    "lv_sv_ml": ("LV stroke volume", "mL"),
    "lv_ef_percent": ("LV ejection fraction", "%"),
    "lv_mass_g": ("LV mass at end-diastole", "g"),
    "rv_edv_ml": ("RV end-diastolic volume", "mL"),
    "rv_esv_ml": ("RV end-systolic volume", "mL"),
    "rv_sv_ml": ("RV stroke volume", "mL"),
    "rv_ef_percent": ("RV ejection fraction", "%"),
    "rv_largest_ml": ("RV largest volume in any phase", "mL"),
    "rv_smallest_ml": ("RV smallest volume in any phase", "mL"),
    "heart_rate_per_min": ("heart rate", "1/min"),
    "cardiac_output_l_min": ("cardiac output", "L/min"),
    "body_surface_m2": ("body surface (Mosteller)", "m2"),
}
"""Name and unit of what a report lists."""
INDEXED = (
    "lv_edv_ml",
    "lv_esv_ml",
    "lv_sv_ml",
    "lv_mass_g",
    "rv_edv_ml",
    "rv_esv_ml",
    "rv_sv_ml",
    "cardiac_output_l_min",
)
"""What is also given by body surface."""


def measure(
    labels: NDArray[np.integer],
    spacing: Sequence[float],
    structures: Structures,
    *,
    ed: int | None = None,
    es: int | None = None,
    given_phases: Mapping[str, int] | None = None,
    heart_rate_per_min: float | None = None,
    height_m: float | None = None,
    weight_kg: float | None = None,
) -> CardiacFunction:
    """Measure a study from its labels.

    Args:
        labels: (P, x, y, S) integer, S slices in each of P phases.
        spacing: mm between voxel centres in x and y and between slice planes.
        structures: the label values.
        ed, es: phases chosen by the user, from 0; they go before ``given_phases``, and that before the curve.
        given_phases: "ED" and "ES" as the study itself names them, from 0; either may be absent.
        heart_rate_per_min, height_m, weight_kg: if known; what is impossible counts as unknown.

    Raises:
        InputError: labels of another shape, spacing that is no length, or a phase that the study does not have.
    """
    volumes = volumes_ml(labels, spacing, structures)
    possible = heart_rate_per_min is not None and _within(heart_rate_per_min, HEART_RATE_PER_MIN)
    return CardiacFunction(
        lv_ml=volumes["lv"],
        rv_ml=volumes["rv"],
        myocardium_ml=volumes["myocardium"],
        phases=choose_phases(volumes["lv"], given_phases, ed, es),
        heart_rate_per_min=heart_rate_per_min if possible else None,
        body_surface_m2=body_surface_m2(height_m, weight_kg),
    )


def volumes_ml(
    labels: NDArray[np.integer], spacing: Sequence[float], structures: Structures
) -> dict[str, tuple[float, ...]]:
    """Volume in mL of "rv", "myocardium" and "lv" in each phase: voxels x spacing / 1000.

    Raises:
        InputError: labels that are not (P, x, y, S), or spacing that is not three positive lengths.
    """
    if labels.ndim != 4:
        raise InputError(
            f"labels of a cine study are expected as (phases, x, y, slices), got {labels.ndim} axes of {labels.shape}: "
            "give a volume of one phase as a study of one phase."
        )
    if len(spacing) != 3 or not all(math.isfinite(length) and length > 0 for length in spacing):
        raise InputError(
            f"spacing is expected as three positive lengths in mm, got {tuple(spacing)}: correct the geometry of the "
            "images; no volume can be measured without it."
        )
    voxel_ml = math.prod(float(length) for length in spacing) / 1000
    return {
        name: tuple(float(count) * voxel_ml for count in np.count_nonzero(labels == value, axis=(1, 2, 3)))
        for name, value in structures.items().items()
    }


def choose_phases(
    lv_ml: Sequence[float],
    given: Mapping[str, int] | None = None,
    ed: int | None = None,
    es: int | None = None,
) -> Phases:
    """End-diastole and end-systole: the user's, else the study's, else maximum and minimum of the curve as measured.

    Args:
        lv_ml: volume of the left ventricle's cavity in each phase.
        given: "ED" and "ES" as the study names them, from 0; either may be absent.
        ed, es: chosen by the user, from 0.

    Raises:
        InputError: a phase that the study does not have.
    """
    choices = {}
    for name, by_user, by_curve in (("ED", ed, int(np.argmax(lv_ml))), ("ES", es, int(np.argmin(lv_ml)))):
        if by_user is not None:
            choices[name] = by_user, "user"
        elif given and name in given:
            choices[name] = given[name], "study"
        else:
            choices[name] = by_curve, "curve"
        if not 0 <= choices[name][0] < len(lv_ml):
            raise InputError(
                f"phase {choices[name][0]} was given as {name}, but the study has the phases 0 to {len(lv_ml) - 1} "
                "(counted from 0): give one of these, or none to have it chosen from the volume curve."
            )
    return Phases(choices["ED"][0], choices["ES"][0], choices["ED"][1], choices["ES"][1])


def body_surface_m2(height_m: float | None, weight_kg: float | None) -> float | None:
    """sqrt(height in cm x weight in kg / 3600), Mosteller, NEJM 317:1098, 1987; None if one is unknown or impossible."""
    if height_m is None or weight_kg is None or not (_within(height_m, HEIGHT_M) and _within(weight_kg, WEIGHT_KG)):
        return None
    return math.sqrt(100 * height_m * weight_kg / 3600)


def rows(function: CardiacFunction) -> tuple[Row, ...]:
    """All quantities, then those by body surface (their keys end in ``_m2``); unknown ones have the value None."""
    plain = [Row(key, name, getattr(function, key), unit) for key, (name, unit) in QUANTITIES.items()]
    by_surface = [
        Row(f"{key}_m2", f"{QUANTITIES[key][0]} index", function.indexed(key), f"{QUANTITIES[key][1]}/m2")
        for key in INDEXED
    ]
    return (*plain, *by_surface)


def _ratio(value: float, by: float | None) -> float | None:
    return value / by if by else None


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]
