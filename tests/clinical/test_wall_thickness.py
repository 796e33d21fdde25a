"""Wall thickness on shells of known thickness, and the naming of segments for every way in which a stack can lie."""

import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.clinical.structures import Structures
from scripts.clinical.wall_thickness import SEGMENTS, base_first, opening, right_handed, wall_thickness
from scripts.data.patients import PhantomPatient

STRUCTURES = Structures(rv=1, myocardium=2, lv=3)
Labels = NDArray[np.uint8]
# Angles from the middle of the septum, towards anterior, at which a segment's sector has its middle.
MIDDLE = {
    "anteroseptal": 30, "anterior": 90, "anterolateral": 150, "inferoseptal": -30, "inferior": -90,
    "inferolateral": -150, "septal": 0, "lateral": 180,
}  # fmt: skip


def heart(
    spacing: tuple[float, float] = (1.5, 1.5),
    inner: float = 24.0,
    thickness: float = 9.0,
    bulge: float | None = None,
    rv_at: float = 180.0,
    slices: int = 9,
) -> Labels:
    """Labels (x, y, slices), base first: a ring about (78, 75) mm that tapers by a quarter, and an RV beside it.

    The RV spans 120 degrees about the direction ``rv_at`` (degrees from x to y). The wall is 4 mm thicker in the 60
    degrees about the direction ``bulge``.
    """
    shape = [round(150 / side) for side in spacing]
    x, y = ((np.arange(n) * side - centre) for n, side, centre in zip(shape, spacing, (78.0, 75.0), strict=True))
    radius, angle = np.hypot(x[:, None], y[None]), np.degrees(np.arctan2(y[None], x[:, None]))
    off_rv = np.abs((angle - rv_at + 180) % 360 - 180)
    outer = np.full(radius.shape, inner + thickness)
    if bulge is not None:
        outer[np.abs((angle - bulge + 180) % 360 - 180) < 30] += 4
    labels = np.zeros((*shape, slices), np.uint8)
    for index in range(slices):
        smaller = 6.0 * index / (slices - 1)
        labels[radius < outer - smaller, index] = STRUCTURES.myocardium
        labels[radius < inner - smaller, index] = STRUCTURES.lv
        if index < slices - 1:
            labels[(radius >= outer - smaller) & (radius < outer - smaller + 20) & (off_rv < 60), index] = STRUCTURES.rv
    return labels


# Thickness


@pytest.mark.parametrize("thickness", [5.0, 9.0, 14.0])
@pytest.mark.parametrize("spacing", [(1.5, 1.5), (1.0, 1.0), (1.8, 1.2)])
def test_a_shell_has_its_thickness_in_every_segment(spacing: tuple[float, float], thickness: float) -> None:
    found = wall_thickness(heart(spacing, thickness=thickness), (*spacing, 8.0), STRUCTURES, right_handed=True)
    assert found.reason == ""
    assert found.mm == pytest.approx([thickness] * 16, abs=0.35)  # a quarter of a pixel


def test_an_eccentric_shell_is_thick_where_it_is_thick() -> None:
    """A circle of 24 mm, 3 mm off the centre of one of 34 mm: 10 mm on average, 13 and 7 mm at the ends."""
    labels = heart(thickness=10.0, slices=6)
    x, y = np.indices(labels.shape[:2]) * 1.5
    for index in range(6):
        cavity = np.hypot(x - 78, y - 75 - 3) < 24 - 6.0 * index / 5
        labels[:, :, index][np.isin(labels[:, :, index], (2, 3))] = STRUCTURES.myocardium
        labels[cavity, index] = STRUCTURES.lv
    found = wall_thickness(labels, (1.5, 1.5, 8.0), STRUCTURES, right_handed=True)
    by_name = dict(zip(SEGMENTS, found.mm, strict=True))
    assert {round(by_name["mid anterior"]), round(by_name["mid inferior"])} == {7, 13}
    assert np.mean(found.mm[6:12]) == pytest.approx(10, abs=0.3)


def test_the_phantom_is_about_as_thick_as_its_geometry() -> None:
    patient = PhantomPatient.from_seed(7, 1)  # healthy
    label = patient.render(patient.ed)[1]
    found = wall_thickness(label, patient.spacing, STRUCTURES, right_handed=False)
    z = [[patient.scan.voxels.level(index) for index in third] for third in found.slices]
    angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    for level, (first, last) in enumerate(((0, 6), (6, 12))):
        endo, epi, _ = patient.shape(patient.ed).boundaries(angles[:, None], np.asarray(z[level])[None])
        assert np.mean(found.mm[first:last]) == pytest.approx(float((epi - endo).mean()), abs=0.5)


# Names


@pytest.mark.parametrize("rv_at", [180.0, 130.0, -75.0])
@pytest.mark.parametrize("base_is_first", [True, False])
@pytest.mark.parametrize("handed", [True, False])
@pytest.mark.parametrize("name", ["anterior", "anteroseptal", "inferior", "inferolateral"])
def test_the_thick_segment_is_named_right(name: str, handed: bool, base_is_first: bool, rv_at: float) -> None:
    septum = np.array([np.cos(np.radians(rv_at)), np.sin(np.radians(rv_at)), 0])
    to_apex = np.array([0, 0, 1.0 if base_is_first else -1.0])
    anterior = np.cross(septum, to_apex) * (1 if handed else -1)  # a mirrored axis mirrors the cross product
    middle = np.radians(MIDDLE[name])
    thick = np.cos(middle) * septum + np.sin(middle) * anterior
    labels = heart(bulge=float(np.degrees(np.arctan2(thick[1], thick[0]))), rv_at=rv_at)
    labels = labels if base_is_first else labels[:, :, ::-1]
    found = wall_thickness(labels, (1.5, 1.5, 8.0), STRUCTURES, handed)
    for level, first in (("basal", 0), ("mid", 6)):
        thickest = first + int(np.argmax(found.mm[first : first + 6]))
        assert SEGMENTS[thickest] == f"{level} {name}"


def test_a_radiologists_view_has_anterior_up() -> None:
    """Rows and columns of a short-axis series (GE, 1.5 T): RV on the left of the picture, slices apex first."""
    row, column = np.array([0.712, 0.701, -0.034]), np.array([-0.308, 0.268, -0.913])  # LPS
    affine = np.eye(4)
    affine[:3, :3] = np.stack([1.5 * row, 1.5 * column, 8.0 * np.cross(row, column)], axis=1)
    affine[:2] *= -1  # RAS
    assert -column[2] > 0.9  # up in the picture is towards the head
    labels = heart(bulge=-90.0, rv_at=180.0)[:, :, ::-1]
    found = wall_thickness(labels, (1.5, 1.5, 8.0), STRUCTURES, right_handed(affine))
    assert SEGMENTS[int(np.argmax(found.mm[:6]))] == "basal anterior"


@pytest.mark.parametrize(
    ("bulge", "name"), [(-90.0, "anterior"), (180.0, "septal"), (90.0, "inferior"), (0.0, "lateral")]
)
def test_apical_segments(bulge: float, name: str) -> None:
    found = wall_thickness(heart(bulge=bulge), (1.5, 1.5, 8.0), STRUCTURES, right_handed=False)
    assert SEGMENTS[12 + int(np.argmax(found.mm[12:]))] == f"apical {name}"


def test_thirds_go_from_base_to_apex() -> None:
    assert wall_thickness(heart(slices=8), (1.5, 1.5, 8.0), STRUCTURES, True).slices == ((0, 1, 2), (3, 4, 5), (6, 7))
    turned = wall_thickness(heart(slices=8)[:, :, ::-1], (1.5, 1.5, 8.0), STRUCTURES, True)
    assert turned.slices == ((7, 6, 5), (4, 3, 2), (1, 0))


def test_the_rv_may_touch_fewer_slices_than_the_wall_has() -> None:
    labels = heart(bulge=-90.0)
    labels[:, :, 5:][labels[:, :, 5:] == STRUCTURES.rv] = 0
    found = wall_thickness(labels, (1.5, 1.5, 8.0), STRUCTURES, right_handed=False)
    assert SEGMENTS[12 + int(np.argmax(found.mm[12:]))] == "apical anterior"


# What cannot be measured


def without_rv(labels: Labels) -> Labels:
    labels[labels == STRUCTURES.rv] = 0
    return labels


def opened(labels: Labels) -> Labels:
    labels[:, :45][labels[:, :45] == STRUCTURES.myocardium] = 0
    return labels


def tube(labels: Labels) -> Labels:
    return np.repeat(labels[:, :, 4:5], 9, axis=2)


@pytest.mark.parametrize(
    ("change", "handed", "reason"),
    [
        (without_rv, True, "insertion points"),
        (opened, True, "closed ring"),
        (tube, True, "base and apex"),
        (np.zeros_like, True, "base and apex"),
        (np.copy, None, "how they lie"),
    ],
)
def test_nothing_is_measured_where_segments_cannot_be_told(change: object, handed: bool | None, reason: str) -> None:
    found = wall_thickness(change(heart()), (1.5, 1.5, 8.0), STRUCTURES, handed)
    assert reason in found.reason
    assert found.mm == (None,) * 16


def test_an_open_slice_is_left_out() -> None:
    labels = heart()
    labels[:, :50, 0][labels[:, :50, 0] == STRUCTURES.myocardium] = 0
    found = wall_thickness(labels, (1.5, 1.5, 8.0), STRUCTURES, right_handed=True)
    assert found.slices == ((1, 2, 3), (4, 5, 6), (7, 8))


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("flip", [False, True])
def test_the_phantoms_base_comes_first(number: int, flip: bool) -> None:
    label = PhantomPatient.from_seed(7, number, smallest=True).render(1)[1]
    assert base_first(label[:, :, ::-1] if flip else label, STRUCTURES) is not flip


def test_opening_is_the_share_of_the_border_without_wall() -> None:
    cavity = np.zeros((12, 12), bool)
    cavity[4:8, 4:8] = True
    wall = np.zeros_like(cavity)
    wall[3:9, 3:9] = ~cavity[3:9, 3:9]
    assert opening(cavity, wall) == 0
    wall[3, :] = False
    assert opening(cavity, wall) == 0.25
    assert opening(cavity, np.zeros_like(cavity)) == 1
    assert opening(np.zeros_like(cavity), wall) == 0
