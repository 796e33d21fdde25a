"""Contours, pictures, curve and bullseye of a report, against shapes that are known."""

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from phantom_report import phantom_labels, phantom_study
from PIL import Image

from scripts.clinical.report import ACDC_STRUCTURES
from scripts.clinical.report_charts import bullseye, curve, thickness_color
from scripts.clinical.report_pictures import Overlays, SlicePicture, directions, overlays

SPACING = (2.0, 1.0, 8.0)


def of(labels: NDArray, images: NDArray | None = None, **options: Any) -> Overlays:
    """Overlays of one phase and slice."""
    images = np.zeros(labels.shape, np.float32) if images is None else images
    return overlays(images[None, ..., None], labels[None, ..., None], SPACING, ACDC_STRUCTURES, **options)


def picture(overlay: Overlays) -> SlicePicture:
    return overlay.slices[0][0]


def pixels(shown: SlicePicture) -> NDArray:
    """(rows, columns) of the PNG."""
    content = base64.b64decode(shown.image.removeprefix("data:image/png;base64,"), validate=True)
    return np.asarray(Image.open(io.BytesIO(content)))


def points(path: str) -> NDArray:
    return np.array([[float(v) for v in pair.split()] for pair in re.findall(r"[-\d.]+ [-\d.]+", path)])


def test_contours_run_around_voxels_in_millimetres() -> None:
    labels = np.zeros((40, 60), np.uint8)
    labels[5:11, 20:50] = 3
    outline = points(picture(of(labels)).contours["lv"])
    # The margin of 20 mm is 10 voxels in x, cut at the border, and 20 in y, so that the window begins at 0.
    assert outline.min(0).tolist() == [5 * 2.0, 20 * 1.0]
    assert outline.max(0).tolist() == [11 * 2.0, 50 * 1.0]
    x, y = outline.T
    area = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    assert area == pytest.approx(2.0 * (6 * 30 - 4 / 8))  # the corners are cut, an eighth of a voxel each


def test_every_structure_that_is_there_has_a_contour_and_holes_too() -> None:
    labels = np.zeros((40, 60), np.uint8)
    labels[10:20, 20:30] = 2
    labels[13:17, 23:27] = 3
    contours = picture(of(labels)).contours
    assert set(contours) == {"myocardium", "lv"}
    assert contours["myocardium"].count("M") == contours["myocardium"].count("Z") == 2
    assert contours["lv"].count("M") == 1


def test_pictures_are_upright_and_in_true_proportions() -> None:
    images, labels = np.zeros((40, 60), np.float32), np.zeros((40, 60), np.uint8)
    images[30:, :10] = 100.0  # right, up
    shown = of(labels, images)
    assert (shown.width_mm, shown.height_mm) == (80.0, 60.0)
    grey = pixels(picture(shown))
    assert grey.shape == (240, 320)
    assert grey[10, -10] > 200
    assert max(grey[-10, -10], grey[10, 10], grey[-10, 10]) < 50


def test_the_cut_leaves_no_label_out() -> None:
    study, labels = phantom_study(), phantom_labels()
    labels[0, 0, -1, 1] = 1
    shown = overlays(study.images[:2], labels[:2], study.spacing, ACDC_STRUCTURES)
    outlines = [points(path) for slice_ in shown.slices for phase in slice_ for path in phase.contours.values()]
    everything = np.concatenate(outlines)
    assert len(shown.slices) == 5
    assert (everything.min(0) >= 0).all()
    assert (everything.max(0) <= (shown.width_mm + 0.01, shown.height_mm + 0.01)).all()
    assert sum("rv" in phase.contours for phase in shown.slices[1]) == 2
    assert shown.width_mm < study.spacing[0] * labels.shape[1] or shown.height_mm == study.spacing[1] * labels.shape[2]


@pytest.mark.parametrize("value", [7.0, np.nan])
def test_an_image_of_nothing_is_drawn_too(value: float) -> None:
    grey = pixels(picture(of(np.zeros((40, 60), np.uint8), np.full((40, 60), value, np.float32))))
    assert np.ptp(grey) == 0


def test_the_patients_directions() -> None:
    axial = np.diag([-1.5, -1.5, 8.0, 1.0])
    assert directions(axial) == {"left": "R", "right": "L", "upper": "A", "lower": "P"}
    oblique = axial.copy()
    oblique[:3, 1] = (-0.5, -1.0, -0.9)
    assert directions(oblique)["lower"] == "PFL"
    assert of(np.zeros((4, 4), np.uint8)).directions is None


def test_pictures_are_the_same_every_time() -> None:
    study, labels = phantom_study(), phantom_labels()
    first, second = (overlays(study.images[:1], labels[:1], study.spacing, ACDC_STRUCTURES) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("times", [None, [20.0, 50.0, 110.0, 200.0]])
def test_the_curve_goes_through_its_points_and_marks_are_on_them(times: list[float] | None) -> None:
    volumes = {"lv": [100.0, 60.0, 40.0, 90.0], "rv": [110.0, 70.0, 55.0, 95.0]}
    drawn = curve(volumes, times, {"ED": 0, "ES": 2})
    by_name = {name: at for name, _, at in drawn.lines}
    lv = by_name["LV"]
    assert dict((name, x) for x, name in drawn.marks) == {"ED": lv[0][0], "ES": lv[2][0]}
    zero, hundred = ({text: y for y, text in drawn.y_ticks}[text] for text in ("0", "100"))
    for name, line in volumes.items():
        measured = [(zero - y) / (zero - hundred) * 100 for _, y, _ in by_name[name.upper()]]
        assert measured == pytest.approx(line, abs=0.05)
    along = np.array([x for x, _, _ in lv])
    expected = np.array(times or [1, 2, 3, 4], dtype=float)
    assert np.corrcoef(along, expected)[0, 1] == pytest.approx(1, abs=1e-6)
    assert drawn.left <= along.min() < along.max() <= drawn.right
    assert lv[2][2] == ("LV 40.0 mL, phase 3" if times is None else "LV 40.0 mL, phase 3, 110 ms")


@pytest.mark.parametrize("line", [[0.0], [0.0, 0.0]])
def test_a_curve_of_nothing_is_drawn_too(line: list[float]) -> None:
    drawn = curve({"lv": line, "rv": line}, None, {"ED": 0, "ES": 0})
    assert all(drawn.left <= x <= drawn.right and y == drawn.bottom for _, _, at in drawn.lines for x, y, _ in at)


@pytest.mark.parametrize(
    ("segment", "x", "y"),
    # SVG's y goes down: anterior is up, the septum left.
    [
        *[(1, 0, -1), (2, -1, -1), (3, -1, 1), (4, 0, 1), (5, 1, 1), (6, 1, -1), (7, 0, -1), (10, 0, 1)],
        *[(13, 0, -1), (14, -1, 0), (15, 0, 1), (16, 1, 0)],
    ],
)
def test_segments_lie_where_the_association_puts_them(segment: int, x: int, y: int) -> None:
    sector = bullseye([9.0] * 16)[segment - 1]
    assert (np.sign(round(sector.x)), np.sign(round(sector.y))) == (x, y)
    radius = np.hypot(sector.x, sector.y)
    ring = (segment - 1) // 6
    assert radius == pytest.approx((87, 61, 35)[ring], abs=0.1)
    assert sector.title.startswith(f"{segment} {('basal', 'mid', 'apical')[ring]} ")


def test_a_segment_that_was_not_measured_has_no_number() -> None:
    first, second, *_ = bullseye([None, 8.14, *[9.0] * 14])
    assert (first.text, first.title) == ("-", "1 basal anterior: not measured")
    assert (second.text, second.title) == ("8.1", "2 basal anteroseptal: 8.1 mm")


@pytest.mark.parametrize("mm", np.linspace(-1, 30, 32))
def test_numbers_on_the_bullseye_can_be_read(mm: float) -> None:
    def luminance(color: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    color, _ = thickness_color(mm)
    sector = bullseye([mm] * 16)[0]
    light, dark = sorted((luminance(color), luminance(sector.text_color)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


def test_phases_of_a_slice_share_their_window_and_slices_do_not() -> None:
    images = np.zeros((2, 40, 60, 2), np.float32)
    images[:, 20:] = 100.0
    images[1] *= 0.5
    images[..., 1] *= 0.1
    shown = overlays(images, np.zeros(images.shape, np.uint8), SPACING, ACDC_STRUCTURES)
    bright = [[int(pixels(phase)[-1, -1]) for phase in slice_] for slice_ in shown.slices]
    assert bright == [[255, 128], [255, 128]]
