"""Every quality check on a healthy analytic heart, which raises no flag, and on that heart with one fault."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.clinical.function import measure
from scripts.clinical.quality import CHECKS, Case, Flag, Thresholds, has_failed, quality_flags
from scripts.clinical.structures import Structures
from scripts.data.heart import contraction
from scripts.data.patients import PhantomPatient

STRUCTURES = Structures(rv=1, myocardium=2, lv=3)
PHASES, SLICES, SPACING = 20, 10, (1.5, 1.5, 9.0)
ED, ES, MIDDLE = 0, 7, 4
Labels = NDArray[np.uint8]


def heart(es_radius: float = 0.72, rv_es: float = 0.72, phases: int = PHASES, descends: bool = True) -> Labels:
    """Labels (phases, 96, 96, 10): half an ellipsoid in a 9 mm wall, the RV beside it, contracting in the plane.

    Radii at end-systole are ``es_radius`` (LV) and ``rv_es`` (width of the RV) of those at end-diastole.
    """
    x, y = (np.indices((96, 96)) - 47.5) * 1.5
    radius, off_septum = np.hypot(x, y), np.abs(np.degrees(np.arctan2(y, -x)))
    labels = np.zeros((phases, 96, 96, SLICES), np.uint8)
    for phase in range(phases):
        degree = contraction(phase / phases, ES / PHASES)
        base = 0.8 * degree * descends  # the valve plane comes down, so that the first slice gets smaller
        for index in range(SLICES):
            along = 1 - ((index + base * (index == 0)) / (SLICES - 0.2)) ** 2
            inner = 28 * (1 - (1 - es_radius) * degree) * along**0.5 * (0.75 if index == 0 and base > 0.4 else 1)
            wall = inner + 9
            plane = labels[phase, :, :, index]
            width = 30 * (1 - (1 - rv_es) * degree) * max(0.0, 1 - (index / 9) ** 2) ** 0.5
            plane[(radius < wall + width) & (off_septum < 65)] = STRUCTURES.rv
            plane[radius < wall] = STRUCTURES.myocardium
            plane[radius < inner] = STRUCTURES.lv
    return labels


@pytest.fixture(scope="module")
def healthy() -> Labels:
    return heart()


def flags_of(labels: Labels, spacing: tuple[float, ...] = SPACING, **options: Any) -> tuple[Flag, ...]:
    chosen = {name: options.pop(name) for name in ("ed", "es", "given_phases") if name in options}
    function = measure(labels, spacing, STRUCTURES, **chosen)
    return quality_flags(Case(labels, spacing, STRUCTURES, function, **options))


def found(flags: tuple[Flag, ...]) -> set[tuple[str, str]]:
    return {(flag.severity, flag.kind) for flag in flags}


def test_a_healthy_heart_raises_no_flag(healthy: Labels) -> None:
    function = measure(healthy, SPACING, STRUCTURES)
    assert (function.phases.ed, function.phases.es) == (ED, ES)
    flags = flags_of(healthy, confidence={"lv": 0.97, "rv": 0.93, "myocardium": 0.9}, heart_rate_per_min=65.0)
    assert flags == ()
    assert not has_failed(flags)


# One fault each


def empty_slice(labels: Labels) -> None:
    labels[ED, :, :, MIDDLE][labels[ED, :, :, MIDDLE] == STRUCTURES.lv] = STRUCTURES.myocardium


def empty_near_apex(labels: Labels) -> None:
    labels[ED, :, :, SLICES - 2][labels[ED, :, :, SLICES - 2] == STRUCTURES.lv] = STRUCTURES.myocardium


def empty_rv_slice(labels: Labels) -> None:
    labels[ES, :, :, MIDDLE][labels[ES, :, :, MIDDLE] == STRUCTURES.rv] = 0


def second_cavity(labels: Labels) -> None:
    labels[ED, 80:94, 80:94, MIDDLE] = STRUCTURES.lv


def open_one(labels: Labels) -> None:
    half = labels[ED, :, 60:, MIDDLE]
    half[half == STRUCTURES.myocardium] = 0


def open_all(labels: Labels) -> None:
    half = labels[ED, :, 56:]
    half[half == STRUCTURES.myocardium] = 0


def no_rv(labels: Labels) -> None:
    labels[labels == STRUCTURES.rv] = 0


def no_rv_at_es(labels: Labels) -> None:
    labels[ES][labels[ES] == STRUCTURES.rv] = 0


def no_heart(labels: Labels) -> None:
    labels[:] = 0


def lost_lv_in_a_phase(labels: Labels) -> None:
    labels[13][labels[13] == STRUCTURES.lv] = 0


def spike(labels: Labels) -> None:
    labels[14] = labels[ES]


def still(labels: Labels) -> None:
    labels[:] = labels[ED]


def cut_apex(labels: Labels) -> None:
    labels[..., 8:] = 0
    labels[..., 8:10] = labels[..., 7:8]


def cut_in_the_middle(labels: Labels) -> None:
    labels[..., 5:] = labels[..., 4:5]


def full_base(labels: Labels) -> None:
    labels[..., 0] = labels[..., 1]


@pytest.mark.parametrize(
    ("fault", "severity", "kind", "words"),
    [
        (empty_slice, "hard", "gap", "left ventricle's cavity is empty in slice 5 at ED"),
        (empty_near_apex, "warning", "gap", "empty in slice 9 at ED"),
        (empty_rv_slice, "warning", "gap", "right ventricle's cavity is empty in slice 5 at ES"),
        (second_cavity, "warning", "fragments", "left ventricle's cavity is in 2 pieces in slice 5 at ED"),
        (open_one, "warning", "open ring", "open in slice 5 at ED"),
        (open_all, "hard", "open ring", "of 8 middle slices at ED"),
        (no_rv, "hard", "missing structure", "right ventricle's cavity was not found at ED"),
        (no_rv_at_es, "hard", "missing structure", "right ventricle's cavity was not found at ES"),
        (no_heart, "hard", "missing structure", "the myocardium was not found"),
        (lost_lv_in_a_phase, "hard", "missing structure", "left ventricle's cavity was not found at ES"),
        (spike, "warning", "volume curve", "in phase 15"),
        (still, "hard", "phases", "the same phase"),
        (still, "hard", "physiology", "the LV's EF is 0 %"),
        (cut_apex, "warning", "apical coverage", "the apex may be missing"),
        (cut_in_the_middle, "hard", "apical coverage", "the apex may be missing"),
        (full_base, "warning", "basal coverage", "the base may be missing"),
    ],
)
def test_a_fault_is_flagged(
    healthy: Labels, fault: Callable[[Labels], None], severity: str, kind: str, words: str
) -> None:
    labels = healthy.copy()
    fault(labels)
    flags = flags_of(labels, **({"given_phases": {"ED": ED}} if fault in (empty_slice, empty_near_apex) else {}))
    named = [flag for flag in flags if (flag.severity, flag.kind) == (severity, kind)]
    assert any(words in flag.reason for flag in named)
    assert has_failed(flags) == any(flag.severity == "hard" for flag in flags)
    assert severity != "hard" or has_failed(flags)


def test_a_flag_knows_phase_and_slice(healthy: Labels) -> None:
    labels = healthy.copy()
    open_one(labels)
    (flag,) = (flag for flag in flags_of(labels) if flag.kind == "open ring")
    assert (flag.phase, flag.slice) == (ED, MIDDLE)


def test_the_direction_of_the_stack_does_not_matter(healthy: Labels) -> None:
    labels = healthy.copy()
    full_base(labels)
    (flag,) = (flag for flag in flags_of(labels[..., ::-1]) if flag.kind == "basal coverage")
    assert flag.slice == SLICES - 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"es_radius": 0.99, "descends": False}, {("hard", "physiology"), ("warning", "stroke volumes")}),
        ({"es_radius": 0.2}, {("hard", "physiology")}),
        ({"es_radius": 0.4}, {("warning", "physiology")}),
        ({"rv_es": 0.97}, {("warning", "stroke volumes")}),
        ({"phases": 8}, {("note", "phases")}),
    ],
)
def test_hearts_that_are_ill_or_impossible(options: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    labels = heart(**options)
    assert expected <= found(flags_of(labels))
    assert has_failed(flags_of(labels)) == any(severity == "hard" for severity, _ in expected)


@pytest.mark.parametrize(
    ("spacing", "severity", "words"),
    [
        ((1.5, 1.5, 14.0), "warning", "slices are 14 mm apart"),
        ((1.5, 1.5, 40.0), "hard", "slices are 40 mm apart"),
        ((12.0, 12.0, 9.0), "hard", "pixels are 12 mm wide"),
        ((3.5, 3.5, 9.0), "warning", "pixels are 3.5 mm wide"),
        ((1.0, 2.0, 9.0), "warning", "pixels are not square"),
    ],
)
def test_geometry(healthy: Labels, spacing: tuple[float, ...], severity: str, words: str) -> None:
    assert any(f.severity == severity and words in f.reason for f in flags_of(healthy, spacing) if f.kind == "geometry")


@pytest.mark.parametrize(("slices", "severity"), [(5, "warning"), (3, "hard")])
def test_few_slices(healthy: Labels, slices: int, severity: str) -> None:
    every = np.linspace(0, SLICES - 1, slices).round().astype(int)
    assert (severity, "geometry") in found(flags_of(healthy[..., every], (1.5, 1.5, 11.0)))


@pytest.mark.parametrize(
    ("confidence", "severity"),
    [({"lv": 0.7}, "warning"), ({"rv": 0.5}, "hard"), ({"myocardium": float("nan")}, "hard"), ({"lv": 0.95}, None)],
)
def test_confidence(healthy: Labels, confidence: dict[str, float], severity: str | None) -> None:
    assert found(flags_of(healthy, confidence=confidence)) == ({(severity, "confidence")} if severity else set())


def test_confidence_counts_at_ed_and_es(healthy: Labels) -> None:
    by_phase = np.full(PHASES, 0.95)
    by_phase[12] = 0.1
    assert flags_of(healthy, confidence={"lv": by_phase}) == ()
    by_phase[ES] = 0.7
    (flag,) = flags_of(healthy, confidence={"lv": by_phase})
    assert (flag.severity, flag.phase) == ("warning", ES)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"heart_rate_per_min": 0.0}, "headers"),
        ({"height_m": 178.0}, "headers"),
        ({"weight_kg": 0.0}, "headers"),
        ({"es": ED}, "phases"),
        ({"es": 18}, "phases"),
    ],
)
def test_headers_and_chosen_phases(healthy: Labels, options: dict[str, Any], kind: str) -> None:
    assert kind in {flag.kind for flag in flags_of(healthy, **options)}


def test_given_phases_are_not_judged_by_the_curve() -> None:
    labels = heart(phases=20)[[ED, ES]]
    assert flags_of(labels, given_phases={"ED": 0, "ES": 1}) == ()


def test_thresholds_can_be_changed(healthy: Labels) -> None:
    case = Case(healthy, SPACING, STRUCTURES, measure(healthy, SPACING, STRUCTURES))
    assert found(quality_flags(case, Thresholds(slices=12))) == {("warning", "geometry")}


def test_hard_flags_come_first(healthy: Labels) -> None:
    labels = healthy.copy()
    full_base(labels)
    open_all(labels)
    severities = [flag.severity for flag in flags_of(labels)]
    assert severities == sorted(severities, key=("hard", "warning", "note").index)


def test_every_check_is_in_the_table_once() -> None:
    import scripts.clinical.quality as quality

    defined = [value for name, value in vars(quality).items() if name.startswith("check_")]
    assert sorted(check.__name__ for check in CHECKS) == sorted(check.__name__ for check in defined)


# On whole data sets


@pytest.mark.parametrize("number", range(1, 6))  # one of each group
def test_the_phantom_passes(number: int) -> None:
    patient = PhantomPatient.from_seed(7, number)
    labels = np.stack([patient.render(frame)[1] for frame in (patient.ed, patient.es)])
    flags = flags_of(labels, patient.spacing, given_phases={"ED": 0, "ES": 1})
    assert not has_failed(flags)


def test_expert_labels_pass(real_data: Path) -> None:
    failed = []
    for folder in sorted((real_data / "acdc" / "validation").glob("patient*")):
        images = [nib.load(file) for file in sorted(folder.glob("*_gt.nii.gz"))]
        labels = np.stack([np.asarray(image.dataobj).astype(np.uint8) for image in images])
        spacing = tuple(float(side) for side in images[0].header.get_zooms()[:3])
        if has_failed(flags_of(labels, spacing, given_phases={"ED": 0, "ES": 1})):
            failed.append(folder.name)
    assert failed == []
