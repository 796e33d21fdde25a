"""Doubts about a study's numbers, each with its reason and severity; after a hard one there are no numbers.

Every check is a small function from a :class:`Case` and :class:`Thresholds` to flags; ``CHECKS`` lists them all. The
shape of the labels is looked at in the two phases on which the numbers rest, end-diastole and end-systole.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import label as connected_components

from scripts.clinical.function import HEART_RATE_PER_MIN, HEIGHT_M, WEIGHT_KG, CardiacFunction
from scripts.clinical.structures import Structures
from scripts.clinical.wall_thickness import opening

HARD, WARNING, NOTE = "hard", "warning", "note"
NAMES = {"rv": "the right ventricle's cavity", "myocardium": "the myocardium", "lv": "the left ventricle's cavity"}
Range = tuple[float, float]


@dataclass(frozen=True)
class Flag:
    """A doubt. ``phase`` and ``slice`` count from 0, None if it is not about one; ``reason`` counts from 1."""

    severity: str
    kind: str
    reason: str
    phase: int | None = None
    slice: int | None = None


@dataclass(frozen=True)
class Limits:
    """What a quantity may be: outside ``rare`` it is a warning, outside ``possible`` a hard failure."""

    rare: Range
    possible: Range


@dataclass(frozen=True)
class Thresholds:
    """When a check raises a flag. "ACDC" is what expert labels of 80 of its patients, most of them ill, show.

    Attributes:
        quantities: ED and ES volumes in mL, ejection fractions in %, mass in g, of adults. Rare is about the range of
            ACDC (LV EDV 51 to 374, EF 11 to 82, RV EDV 47 to 295, EF 2 to 86, mass 37 to 272), possible leaves a
            margin to it that no living adult is expected beyond.
        stroke_volume_share, stroke_volume_ml: both must be exceeded. Without shunt and regurgitation the ventricles
            eject the same; contouring differs by less between observers.
        basal_share, basal_share_warning: area of the cavity in an end slice over its largest, at ED and at ES, for a
            note and a warning. The valve plane descends by about a slice, so an end slice that is full in both phases
            leaves open whether the base was covered; that is so in a third of ACDC, as far as its experts labelled.
        apical_share, apical_share_hard: the same at ED for the end with the smaller area; ACDC's largest is 0.42. Three
            quarters mean that the stack ends in the middle of the ventricle.
        gap_share: volume that a structure lacks in an empty slice between filled ones, over its own volume.
        fragment_share: second largest piece in a slice over the whole; trabeculae part the right ventricle more often.
        opening_share: of the cavity's border without myocardium, in a slice that is not the first or last of the cavity.
        open_slices_hard: share of these slices that are open.
        jump_per_cycle: change between neighbouring phases times their number, in end-diastolic volumes. Peak filling of
            about 600 mL/s into 140 mL is 4.
        spike_share: a phase's distance from the mean of its neighbours, in end-diastolic volumes.
        curve_phases: fewest phases in which a curve is judged; fewer than ``few_phases`` may miss ED and ES.
        systole_share: time from ED to ES over the cycle; a third at rest, more at a fast heart rate.
        confidence, confidence_hard: mean probability of the chosen class within a structure; 1 over the number of
            classes would be guessing.
        pixel_mm, slice_mm: spacing in the plane and across; ACDC has 0.7 to 1.9 and 5 to 10.
        possible_pixel_mm, possible_slice_mm: beyond these no ventricle can be measured.
        pixel_ratio: longer over shorter side of a pixel; scanners reconstruct squares.
        slices, slices_hard: fewest slices with a left ventricle at ED; 70 to 100 mm at 8 to 10 mm need 7 or more.
    """

    quantities: Mapping[str, Limits] = field(
        default_factory=lambda: {
            "lv_edv_ml": Limits((50, 375), (30, 500)),
            "lv_ef_percent": Limits((10, 80), (5, 90)),
            "rv_edv_ml": Limits((45, 300), (20, 600)),
            "rv_ef_percent": Limits((10, 80), (0, 95)),
            "lv_mass_g": Limits((35, 280), (20, 600)),
        }
    )
    stroke_volume_share: float = 0.2
    stroke_volume_ml: float = 15.0
    basal_share: float = 0.8
    basal_share_warning: float = 0.95
    apical_share: float = 0.45
    apical_share_hard: float = 0.75
    gap_share: float = 0.1
    fragment_share: Mapping[str, float] = field(default_factory=lambda: {"rv": 0.2, "myocardium": 0.15, "lv": 0.1})
    opening_share: float = 0.1
    open_slices_hard: float = 0.5
    jump_per_cycle: float = 8.0
    spike_share: float = 0.15
    curve_phases: int = 10
    few_phases: int = 15
    systole_share: Range = (0.15, 0.65)
    confidence: float = 0.8
    confidence_hard: float = 0.6
    pixel_mm: Range = (0.4, 3.0)
    possible_pixel_mm: Range = (0.1, 10.0)
    slice_mm: Range = (4.0, 12.0)
    possible_slice_mm: Range = (1.0, 30.0)
    pixel_ratio: float = 1.25
    slices: int = 6
    slices_hard: int = 4


@dataclass(frozen=True)
class Case:
    """What the checks look at.

    Attributes:
        labels: (P, x, y, S) integer.
        spacing: mm in x and y and between slice planes.
        structures: the label values.
        function: measured on these labels.
        confidence: mean softmax of the chosen class within "rv", "myocardium", "lv", in [0, 1], one number or one a
            phase; what is absent is not checked.
        heart_rate_per_min, height_m, weight_kg: as the study has them, None if it has not.
    """

    labels: NDArray[np.integer]
    spacing: Sequence[float]
    structures: Structures
    function: CardiacFunction
    confidence: Mapping[str, ArrayLike] = field(default_factory=dict)
    heart_rate_per_min: float | None = None
    height_m: float | None = None
    weight_kg: float | None = None

    def phases(self) -> dict[str, int]:
        """ED and ES."""
        return {"ED": self.function.phases.ed, "ES": self.function.phases.es}

    def areas(self, structure: str, phase: int) -> NDArray[np.float64]:
        """Area in mm2 of a structure in each slice of a phase, (S,)."""
        voxels = np.count_nonzero(self.labels[phase] == self.structures.items()[structure], axis=(0, 1))
        return voxels * float(self.spacing[0]) * float(self.spacing[1])


Check = Callable[[Case, Thresholds], Iterator[Flag]]


def quality_flags(case: Case, thresholds: Thresholds | None = None) -> tuple[Flag, ...]:
    """All flags of a study, hard ones first."""
    flags = [flag for check in CHECKS for flag in check(case, thresholds or Thresholds())]
    return tuple(sorted(flags, key=lambda flag: (HARD, WARNING, NOTE).index(flag.severity)))


def has_failed(flags: Sequence[Flag]) -> bool:
    """Whether a hard check failed, so that no numbers may be given."""
    return any(flag.severity == HARD for flag in flags)


def check_geometry(case: Case, limits: Thresholds) -> Iterator[Flag]:
    """Spacing, shape of the pixels, slice distance, number of slices."""
    sides, distance = [float(length) for length in case.spacing[:2]], float(case.spacing[2])
    lengths = [(side, "pixels are {:g} mm wide", limits.pixel_mm, limits.possible_pixel_mm) for side in set(sides)]
    lengths.append((distance, "slices are {:g} mm apart", limits.slice_mm, limits.possible_slice_mm))
    for length, words, usual, possible in lengths:
        if not usual[0] <= length <= usual[1]:
            severity = WARNING if possible[0] <= length <= possible[1] else HARD
            yield Flag(severity, "geometry", f"{words.format(length)}; usual are {usual[0]:g} to {usual[1]:g} mm")
    if max(sides) > limits.pixel_ratio * min(sides):
        yield Flag(WARNING, "geometry", f"pixels are not square: {sides[0]:g} x {sides[1]:g} mm")
    slices = int(np.count_nonzero(case.areas("lv", case.function.phases.ed)))
    if slices < limits.slices:
        severity = HARD if slices < limits.slices_hard else WARNING
        reason = f"the left ventricle is in {slices} slices at ED; a volume from fewer than {limits.slices} is coarse"
        yield Flag(severity, "geometry", reason, case.function.phases.ed)


def check_presence(case: Case, limits: Thresholds) -> Iterator[Flag]:
    """A structure missing altogether."""
    for name, phase in case.phases().items():
        for structure, words in NAMES.items():
            if not case.areas(structure, phase).any():
                yield Flag(HARD, "missing structure", f"{words} was not found at {name}", phase)


def check_coverage(case: Case, limits: Thresholds) -> Iterator[Flag]:
    """The left ventricle at full size where the stack ends. The end with the smaller area is taken for the apex."""
    by_phase = [case.areas("lv", phase) for phase in case.phases().values()]
    if not all(areas.any() for areas in by_phase) or len(by_phase[0]) < 2:
        return
    ed, es = (areas / areas.max() for areas in by_phase)
    apex, base = (0, -1) if ed[0] < ed[-1] else (-1, 0)
    phase, places = case.function.phases.ed, {0: 0, -1: len(ed) - 1}
    if ed[apex] >= limits.apical_share:
        severity = HARD if ed[apex] >= limits.apical_share_hard else WARNING
        reason = f"in the last slice towards the apex the left ventricle still has {ed[apex]:.0%} of its largest area"
        yield Flag(severity, "apical coverage", f"{reason}: the apex may be missing", phase, places[apex])
    full = min(ed[base], es[base])
    if full >= limits.basal_share:
        reason = (
            f"in the last slice towards the base the left ventricle has {ed[base]:.0%} of its largest area at ED and "
            f"{es[base]:.0%} at ES: the base may be missing"
        )
        severity = WARNING if full >= limits.basal_share_warning else NOTE
        yield Flag(severity, "basal coverage", reason, phase, places[base])


def check_gaps(case: Case, limits: Thresholds) -> Iterator[Flag]:
    """A structure that is empty in a slice between slices where it is not."""
    for name, phase in case.phases().items():
        for structure, words in NAMES.items():
            areas = case.areas(structure, phase)
            (filled,) = np.nonzero(areas)
            for before, after in pairwise(filled):
                lacking = (after - before - 1) * 0.5 * (areas[before] + areas[after]) / areas.sum()
                if lacking > 0:
                    severity = HARD if lacking > limits.gap_share and structure != "rv" else WARNING
                    reason = f"{words} is empty in slice {before + 2} at {name}, between slices where it is not"
                    yield Flag(
                        severity, "gap", f"{reason}: about {lacking:.0%} of it is lacking", phase, int(before) + 1
                    )


def check_fragments(case: Case, limits: Thresholds) -> Iterator[Flag]:
    """A structure in several pieces in a slice that is not its first or last."""
    for name, phase in case.phases().items():
        for structure, words in NAMES.items():
            masks = case.labels[phase] == case.structures.items()[structure]
            (filled,) = np.nonzero(masks.any((0, 1)))
            for index in filled[1:-1]:
                pieces, count = connected_components(masks[:, :, index], np.ones((3, 3)))
                if count < 2:
                    continue
                share = np.sort(np.bincount(pieces.ravel())[1:])[-2] / masks[:, :, index].sum()
                if share > limits.fragment_share[structure]:
                    reason = f"{words} is in {count} pieces in slice {index + 1} at {name}, the second with {share:.0%}"
                    yield Flag(WARNING, "fragments", reason, phase, int(index))


def check_ring(case: Case, limits: Thresholds) -> Iterator[Flag]:
    """Myocardium that does not close around the cavity, in slices that are not the cavity's first or last."""
    for name, phase in case.phases().items():
        labels = case.labels[phase]
        (filled,) = np.nonzero((labels == case.structures.lv).any((0, 1)))
        open_slices = []
        for index in filled[1:-1]:
            plane = labels[:, :, index]
            share = opening(plane == case.structures.lv, plane == case.structures.myocardium)
            if share > limits.opening_share:
                open_slices.append(index)
                reason = f"the myocardium leaves {share:.0%} of the cavity's border open in slice {index + 1} at {name}"
                yield Flag(WARNING, "open ring", reason, phase, int(index))
        if len(open_slices) > limits.open_slices_hard * max(len(filled) - 2, 1):
            reason = f"the myocardium is open in {len(open_slices)} of {len(filled) - 2} middle slices at {name}"
            yield Flag(HARD, "open ring", reason, phase)


def check_stroke_volumes(case: Case, limits: Thresholds) -> Iterator[Flag]:
    """Both ventricles eject into one circulation."""
    lv, rv = case.function.lv_sv_ml, case.function.rv_sv_ml
    apart = abs(lv - rv)
    if apart > limits.stroke_volume_ml and apart > limits.stroke_volume_share * max(lv, rv):
        reason = (
            f"the stroke volumes are {lv:.0f} mL (LV) and {rv:.0f} mL (RV): regurgitation, a shunt, or wrong contours"
        )
        yield Flag(WARNING, "stroke volumes", reason)


def check_physiology(case: Case, limits: Thresholds) -> Iterator[Flag]:
    """Volumes, ejection fractions and mass that are rare or impossible in adults."""
    for quantity, limit in limits.quantities.items():
        value = getattr(case.function, quantity)
        if value is None or limit.rare[0] <= value <= limit.rare[1]:
            continue
        side, unit = quantity.split("_")[0].upper(), {"ml": "mL", "percent": "%", "g": "g"}[quantity.split("_")[-1]]
        words = (
            f"the {side}'s {' '.join(quantity.split('_')[1:-1]).upper().replace('MASS', 'mass')} is {value:.0f} {unit}"
        )
        if limit.possible[0] <= value <= limit.possible[1]:
            yield Flag(WARNING, "physiology", f"{words}; outside {limit.rare[0]:g} to {limit.rare[1]:g} it is rare")
        else:
            reason = f"{words}; possible in an adult are {limit.possible[0]:g} to {limit.possible[1]:g}"
            yield Flag(HARD, "physiology", reason)


def check_phases(case: Case, limits: Thresholds) -> Iterator[Flag]:
    """End-diastole and end-systole: not the same, in the usual distance, chosen among enough phases."""
    phases, count = case.function.phases, len(case.function.lv_ml)
    if phases.ed == phases.es:
        yield Flag(HARD, "phases", f"ED and ES are the same phase, {phases.ed + 1} of {count}", phases.ed)
    if "curve" not in (phases.ed_chosen_by, phases.es_chosen_by):
        return
    if count < limits.few_phases:
        reason = f"ED and ES were chosen among {count} phases; with fewer than {limits.few_phases} they may be missed"
        yield Flag(NOTE, "phases", reason)
    systole = (phases.es - phases.ed) % count / count
    if count >= limits.curve_phases and not limits.systole_share[0] <= systole <= limits.systole_share[1]:
        yield Flag(WARNING, "phases", f"ES lies {systole:.0%} of the cycle after ED; usual is a third", phases.es)


def check_curve(case: Case, limits: Thresholds) -> Iterator[Flag]:
    """Jumps and spikes of the left ventricle's volume curve, which is periodic."""
    volume, edv = np.asarray(case.function.lv_ml), case.function.lv_edv_ml
    if len(volume) < limits.curve_phases or edv == 0:
        return
    jump = (volume - np.roll(volume, 1)) / edv
    spike = (volume - 0.5 * (np.roll(volume, 1) + np.roll(volume, -1))) / edv
    for phase in np.flatnonzero(np.abs(jump) * len(volume) > limits.jump_per_cycle):
        reason = f"the LV volume changes by {abs(jump[phase]):.0%} of EDV from the phase before to phase {phase + 1}"
        yield Flag(WARNING, "volume curve", reason, int(phase))
    for phase in np.flatnonzero(np.abs(spike) > limits.spike_share):
        reason = f"the LV volume in phase {phase + 1} is {abs(spike[phase]):.0%} of EDV off the mean of its neighbours"
        yield Flag(WARNING, "volume curve", reason, int(phase))


def check_confidence(case: Case, limits: Thresholds) -> Iterator[Flag]:
    """A structure of which the model is unsure, at ED or ES."""
    for structure, given in case.confidence.items():
        by_phase = np.broadcast_to(np.asarray(given, dtype=float), len(case.function.lv_ml))
        name, phase = min(case.phases().items(), key=lambda item: by_phase[item[1]])
        value = float(by_phase[phase])
        if not value >= limits.confidence:
            severity = WARNING if value >= limits.confidence_hard else HARD
            reason = (
                f"{NAMES[structure]} has a mean probability of {value:.2f} at {name}; {limits.confidence:g} is expected"
            )
            yield Flag(severity, "confidence", reason, phase)


def check_headers(case: Case, limits: Thresholds) -> Iterator[Flag]:
    """Heart rate, height and weight that cannot be: what is computed from them is left out."""
    for value, words, possible in (
        (case.heart_rate_per_min, "heart rate in 1/min", HEART_RATE_PER_MIN),
        (case.height_m, "height in m", HEIGHT_M),
        (case.weight_kg, "weight in kg", WEIGHT_KG),
    ):
        if value is not None and not possible[0] <= value <= possible[1]:
            reason = f"the {words} of the study is not between {possible[0]:g} and {possible[1]:g}: it was not used"
            yield Flag(WARNING, "headers", reason)


CHECKS: tuple[Check, ...] = (
    check_geometry,
    check_presence,
    check_coverage,
    check_gaps,
    check_fragments,
    check_ring,
    check_stroke_volumes,
    check_physiology,
    check_phases,
    check_curve,
    check_confidence,
    check_headers,
)
