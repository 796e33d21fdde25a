"""Volumes, ejection fraction and mass against geometry, against SimpleITK and against expert contours."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from skimage.draw import polygon

from scripts.clinical.function import (
    CardiacFunction,
    Phases,
    Row,
    body_surface_m2,
    choose_phases,
    measure,
    rows,
    volumes_ml,
)
from scripts.clinical.structures import Structures
from scripts.data.patients import PhantomPatient
from scripts.errors import InputError

ACDC = Structures(rv=1, myocardium=2, lv=3)
# Relative error of counting voxels, as tests/data/test_phantom.py has it.
VOXELS = {"rv": 0.04, "myocardium": 0.03, "lv": 0.03}
CURVE = (100.0, 90.0, 60.0, 42.0, 40.0, 70.0, 95.0, 101.0)


def boxes(counts: dict[str, tuple[int, ...]]) -> NDArray[np.uint8]:
    """Labels (P, 20, 20, 4) with so many voxels of each structure in each phase."""
    phases = len(counts["lv"])
    labels = np.zeros((phases, 1600), np.uint8)
    for phase in range(phases):
        start = 0
        for name, value in ACDC.items().items():
            labels[phase, start : start + counts[name][phase]] = value
            start += counts[name][phase]
    return labels.reshape(phases, 20, 20, 4)


SMALL = boxes({"lv": (300, 120, 100, 250), "rv": (280, 100, 120, 290), "myocardium": (200, 210, 215, 205)})


# Numbers


def test_volumes_are_voxels_times_spacing() -> None:
    volumes = volumes_ml(SMALL, (2.0, 2.5, 8.0), ACDC)
    assert volumes["lv"] == pytest.approx((12.0, 4.8, 4.0, 10.0))
    assert volumes["rv"] == pytest.approx((11.2, 4.0, 4.8, 11.6))
    assert volumes["myocardium"] == pytest.approx((8.0, 8.4, 8.6, 8.2))


def test_every_number_of_a_small_study() -> None:
    function = measure(SMALL, (2.0, 2.5, 8.0), ACDC, heart_rate_per_min=60, height_m=1.8, weight_kg=72)
    values = {row.key: row.value for row in rows(function)}
    assert function.phases == Phases(ed=0, es=2)
    assert function.rv_own_phases == Phases(ed=3, es=1)
    assert values == pytest.approx(
        {
            "lv_edv_ml": 12.0,
            "lv_esv_ml": 4.0,
            "lv_sv_ml": 8.0,
            "lv_ef_percent": 200 / 3,
            "lv_mass_g": 8.4,
            "rv_edv_ml": 11.2,
            "rv_esv_ml": 4.8,
            "rv_sv_ml": 6.4,
            "rv_ef_percent": 400 / 7,
            "rv_largest_ml": 11.6,
            "rv_smallest_ml": 4.0,
            "heart_rate_per_min": 60,
            "cardiac_output_l_min": 0.48,
            "body_surface_m2": 3.6**0.5,
            "lv_edv_ml_m2": 12.0 / 3.6**0.5,
            "lv_esv_ml_m2": 4.0 / 3.6**0.5,
            "lv_sv_ml_m2": 8.0 / 3.6**0.5,
            "lv_mass_g_m2": 8.4 / 3.6**0.5,
            "rv_edv_ml_m2": 11.2 / 3.6**0.5,
            "rv_esv_ml_m2": 4.8 / 3.6**0.5,
            "rv_sv_ml_m2": 6.4 / 3.6**0.5,
            "cardiac_output_l_min_m2": 0.48 / 3.6**0.5,
        }
    )


def test_what_is_unknown_stays_unknown() -> None:
    function = measure(SMALL, (2.0, 2.5, 8.0), ACDC, heart_rate_per_min=0.0, height_m=175.0, weight_kg=72)
    unknown = {row.key for row in rows(function) if row.value is None}
    assert {"heart_rate_per_min", "cardiac_output_l_min", "body_surface_m2", "lv_edv_ml_m2"} <= unknown
    assert not unknown & {"lv_edv_ml", "lv_ef_percent", "rv_ef_percent", "lv_mass_g"}


def test_a_ventricle_that_is_not_there_has_no_ejection_fraction() -> None:
    function = measure(np.zeros((3, 8, 8, 4), np.uint8), (1.0, 1.0, 8.0), ACDC)
    assert function.lv_ef_percent is None
    assert function.rv_ef_percent is None
    assert function.lv_edv_ml == 0


def test_rows_name_quantity_and_unit() -> None:
    row = next(row for row in rows(CardiacFunction((10.0,), (9.0,), (8.0,), Phases(0, 0))) if row.key == "lv_edv_ml")
    assert row == Row("lv_edv_ml", "LV end-diastolic volume", 10.0, "mL")


@pytest.mark.parametrize(
    ("height", "weight", "surface"),
    [(1.8, 80, 2.0), (1.6, 90, 2.0), (None, 80, None), (1.8, None, None), (180.0, 80, None), (1.8, 0.0, None)],
)
def test_body_surface(height: float | None, weight: float | None, surface: float | None) -> None:
    assert body_surface_m2(height, weight) == (surface if surface is None else pytest.approx(surface))


# Phases


@pytest.mark.parametrize(
    ("given", "ed", "es", "expected"),
    [
        (None, None, None, Phases(7, 4, "curve", "curve")),
        ({"ED": 0, "ES": 3}, None, None, Phases(0, 3, "study", "study")),
        ({"ES": 3}, None, None, Phases(7, 3, "curve", "study")),
        ({"ED": 0, "ES": 3}, None, 5, Phases(0, 5, "study", "user")),
        (None, 1, 2, Phases(1, 2, "user", "user")),
    ],
)
def test_phases_are_the_users_then_the_studys_then_the_curves(
    given: dict[str, int] | None, ed: int | None, es: int | None, expected: Phases
) -> None:
    assert choose_phases(CURVE, given, ed, es) == expected


@pytest.mark.parametrize("chosen", [{"ed": 8}, {"es": -1}, {"given": {"ED": 20}}])
def test_a_phase_that_the_study_does_not_have_is_refused(chosen: dict) -> None:
    with pytest.raises(InputError, match="phases 0 to 7"):
        choose_phases(CURVE, **chosen)


def test_the_curve_is_not_smoothed() -> None:
    noisy = np.asarray(CURVE) + np.array([0, 0, 0, 0, -6, 0, 0, 9])
    function = CardiacFunction(tuple(noisy), CURVE, CURVE, choose_phases(noisy))
    assert (function.lv_edv_ml, function.lv_esv_ml) == (110, 34)


# Bad input


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 0.0), (1.0, -1.0, 8.0), (1.0, 1.0), (1.0, float("nan"), 8.0)])
def test_spacing_that_is_no_length_is_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="three positive lengths"):
        measure(SMALL, spacing, ACDC)


def test_labels_of_one_volume_are_refused() -> None:
    with pytest.raises(InputError, match="phases, x, y, slices"):
        measure(SMALL[0], (1.0, 1.0, 8.0), ACDC)


# Against what is known otherwise


@pytest.mark.parametrize("number", range(1, 6))  # one of each group
def test_the_phantom_is_measured_within_the_voxels_error(number: int) -> None:
    patient = PhantomPatient.from_seed(7, number)
    labels = np.stack([patient.render(frame)[1] for frame in (patient.ed, patient.es)])
    function = measure(labels, patient.spacing, ACDC)
    ed, es = (patient.analytic_volumes_ml(frame) for frame in (patient.ed, patient.es))
    assert function.phases == Phases(0, 1)
    assert function.lv_edv_ml == pytest.approx(ed["lv"], rel=VOXELS["lv"])
    assert function.lv_esv_ml == pytest.approx(es["lv"], rel=VOXELS["lv"])
    assert function.rv_edv_ml == pytest.approx(ed["rv"], rel=VOXELS["rv"])
    assert function.rv_esv_ml == pytest.approx(es["rv"], rel=VOXELS["rv"])
    assert function.lv_mass_g == pytest.approx(1.05 * ed["myocardium"], rel=VOXELS["myocardium"])
    for side, measured in (("lv", function.lv_ef_percent), ("rv", function.rv_ef_percent)):
        # errors of both volumes: |d EF| <= ESV / EDV x (error of ESV + error of EDV)
        bound = 100 * es[side] / ed[side] * 2 * VOXELS[side]
        assert measured == pytest.approx(100 * (1 - es[side] / ed[side]), abs=bound)


@pytest.mark.parametrize("patient", ["training/patient003", "training/patient029", "validation/patient087"])
def test_acdc_equals_simpleitk(real_data: Path, patient: str) -> None:
    files = sorted((real_data / "acdc" / patient).glob("*_gt.nii.gz"))
    images = [nib.load(file) for file in files]
    labels = np.stack([np.asarray(image.dataobj).astype(np.uint8) for image in images])
    function = measure(labels, images[0].header.get_zooms()[:3], ACDC, given_phases={"ED": 0, "ES": 1})
    ml = []
    for file in files:
        statistics = SimpleITK.LabelShapeStatisticsImageFilter()
        statistics.Execute(SimpleITK.ReadImage(str(file), SimpleITK.sitkUInt8))
        ml.append({name: statistics.GetPhysicalSize(value) / 1000 for name, value in ACDC.items().items()})
    assert function.lv_edv_ml == pytest.approx(ml[0]["lv"], rel=1e-5)
    assert function.lv_ef_percent == pytest.approx(100 * (ml[0]["lv"] - ml[1]["lv"]) / ml[0]["lv"], rel=1e-5)
    assert function.rv_ef_percent == pytest.approx(100 * (ml[0]["rv"] - ml[1]["rv"]) / ml[0]["rv"], rel=1e-5)
    assert function.lv_mass_g == pytest.approx(1.05 * ml[0]["myocardium"], rel=1e-5)


def test_sunnybrook_contours_give_the_known_volumes(real_data: Path) -> None:
    """IM-0001-NNNN belongs to NNNN.dcm: 20 phases in each of 10 slices, ED the phase 20, ES 7; 1.2891 mm, 8 mm apart.

    The outlines run through pixel centres and corners, so that a grid of whole pixels would count their borders in.
    """
    fine = 4
    folder = real_data / "sunnybrook" / "contours" / "SCD0000301"
    labels = np.zeros((2, 90 * fine, 90 * fine, 10), np.uint8)  # every outline lies between 85 and 175
    for kind, value in (("o", ACDC.myocardium), ("i", ACDC.lv)):  # the cavity is drawn over the wall
        for file in sorted((folder / f"{kind}-contours").glob("IM-0001-*-?contour-manual.txt")):
            place, time = divmod(int(file.name.split("-")[2]) - 1, 20)
            outline = (np.loadtxt(file) - 85) * fine + 0.3
            inside = polygon(outline[:, 0], outline[:, 1], labels.shape[1:3])
            labels[{19: 0, 6: 1}[time], :, :, place][inside] = value
    function = measure(labels, (1.2891 / fine, 1.2891 / fine, 8.0), ACDC)
    assert function.lv_edv_ml == pytest.approx(230, rel=0.02)
    assert function.lv_esv_ml == pytest.approx(180, rel=0.02)
    assert function.lv_ef_percent == pytest.approx(22, rel=0.02)
    assert function.phases == Phases(0, 1)
