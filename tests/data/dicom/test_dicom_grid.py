"""The grid of phases and slices: order in time, what is missing, geometry."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cineframes import COLUMN, NORMAL, ORIGIN, ROW, frame, stack

from scripts.data.dicom.files import StudyFiles
from scripts.data.dicom.frames import Frame
from scripts.data.dicom.grid import PhaseGrid, phase_grid
from scripts.data.dicom.series import find_short_axis
from scripts.errors import InputError


def grid_of(frames: list[Frame]) -> PhaseGrid:
    return phase_grid(find_short_axis(frames), StudyFiles(Path(), {}))


def slice_of(frame: Frame) -> int:
    return int(frame.sop_instance_uid.split(".")[2]) // 80


def phase_of(frame: Frame) -> int:
    return int(frame.sop_instance_uid.split(".")[3])


def shuffled(frames: list[Frame]) -> list[Frame]:
    return [frames[i] for i in np.random.default_rng(1).permutation(len(frames))]


def test_phases_are_ranked_within_slices_whose_times_differ():
    times = np.random.default_rng(0).uniform(0, 15, (6, 4)) + 60.0 * np.arange(4)
    frames = [replace(f, trigger_ms=times[slice_of(f), phase_of(f)]) for f in shuffled(stack())]
    grid = grid_of(frames)
    assert [[phase_of(f) for f in phase] for phase in grid.frames] == [[p] * 6 for p in range(4)]
    np.testing.assert_array_equal(grid.times_ms, times[[slice_of(f) for f in grid.frames[0]]].T)


@pytest.mark.parametrize(
    ("changes", "ordered_by"),
    [
        (lambda f: {"trigger_ms": None, "temporal_position": phase_of(f) + 1}, "TemporalPositionIdentifier"),
        (lambda f: {"trigger_ms": 0.0, "temporal_position": phase_of(f) + 1}, "TemporalPositionIdentifier"),
        (lambda f: {"trigger_ms": None}, "InstanceNumber"),
        (lambda f: {"trigger_ms": 0.0, "temporal_position": 1.0}, "InstanceNumber"),
        (lambda f: {"trigger_ms": None, "instance": (1, phase_of(f))}, "InstanceNumber"),
        (lambda f: {"trigger_ms": None, "instance": None, "acquired": 120000.0 + phase_of(f)}, "AcquisitionTime"),
    ],
)
def test_order_without_usable_trigger_times(changes, ordered_by):
    grid = grid_of([replace(f, **changes(f)) for f in shuffled(stack())])
    assert [[phase_of(f) for f in phase] for phase in grid.frames] == [[p] * 6 for p in range(4)]
    assert grid.ordered_by == ordered_by
    assert grid.times_ms is None


def test_affine_is_that_of_the_standard():
    """PS3.3, C.7.6.2.1-1, written out for the corners of the grid, in RAS."""
    grid = grid_of(shuffled(stack()))
    for x, y, s in [(0, 0, 0), (4, 0, 0), (0, 3, 0), (4, 3, 5)]:
        lps = ORIGIN + 8.0 * s * NORMAL + 1.5 * x * ROW + 2.0 * y * COLUMN
        np.testing.assert_allclose(grid.affine @ [x, y, s, 1], [-lps[0], -lps[1], lps[2], 1], atol=1e-9)


def test_no_order_at_all():
    with pytest.raises(InputError, match="cannot be ordered"):
        grid_of([replace(f, trigger_ms=None, instance=None) for f in stack()])


def test_two_acquisitions_in_one_series_are_not_interleaved():
    again = [replace(f, sop_instance_uid=f"{f.sop_instance_uid}.9", instance=(100 + phase_of(f), 0)) for f in stack()]
    with pytest.raises(InputError, match=r"same TriggerTime.*two acquisitions"):
        grid_of(stack() + again)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ([(2, 1)], r"expected 6 phases in each of 6 slices.*has 5 \(a gap between 0 and 80 ms\)"),
        ([(2, 5)], r"has 5 \(from 0 to 160 ms without a gap: the first or last is missing"),
        ([(2, 1), (4, 2)], r"has 5 .*; the slice at .* mm has 5"),
    ],
)
def test_missing_image_is_named_by_position_and_time(missing, words):
    frames = [f for f in stack(6, 6) if (slice_of(f), phase_of(f)) not in missing]
    with pytest.raises(InputError, match=words) as error:
        grid_of(frames)
    for s, _ in missing:
        assert f"the slice at {ORIGIN @ NORMAL + 8.0 * s:.1f} mm" in str(error.value)


def test_too_many_images_of_a_slice():
    with pytest.raises(InputError, match=r"has 5.*there twice"):
        grid_of([*stack(), frame(8.0, 9)])


def test_missing_slice_is_an_odd_gap():
    with pytest.raises(InputError, match=r"expected 8.00 mm, but 16.00 mm between"):
        grid_of([f for f in stack(8) if slice_of(f) != 3])


@pytest.mark.parametrize(("shift", "regular"), [(0.05, True), (0.09, True), (0.2, False), (-1.0, False)])
def test_regular_within_a_tenth_of_a_millimetre(shift, regular):
    frames = [f if slice_of(f) != 2 else replace(f, position=tuple(f.position + shift * NORMAL)) for f in stack()]
    if regular:
        assert len(grid_of(frames).frames) == 4
    else:
        with pytest.raises(InputError, match="not equally spaced"):
            grid_of(frames)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (lambda f: slice_of(f) == 2, "slices .* shifted sideways by up to 3.00 mm"),
        (lambda f: phase_of(f) == 0 and slice_of(f) == 2, "slice at .* shifted against each other by up to 3.00 mm"),
    ],
)
def test_planes_shifted_within_themselves(changed, words):
    frames = [replace(f, position=tuple(f.position + 3.0 * ROW)) if changed(f) else f for f in stack()]
    with pytest.raises(InputError, match=words):
        grid_of(frames)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pixel_spacing": (0.0, 0.0)}, "no usable PixelSpacing.*came .0.0, 0.0"),
        ({"pixel_spacing": (1.5, -1.5)}, "no usable PixelSpacing"),
        ({"pixel_spacing": None}, "no usable PixelSpacing.*came nothing"),
        ({"rescale": (0.0, None)}, "RescaleSlope is 0"),
        ({"shape": (0, 0)}, "no Rows or Columns"),
        ({"orientation": (*(2.0 * ROW), *COLUMN)}, "not two unit vectors"),
        ({"orientation": (*ROW, 0.08, 0.06, -0.995)}, "not two unit vectors"),
    ],
)
def test_unusable_headers(changes, words):
    with pytest.raises(InputError, match=words):
        grid_of(stack(**changes))


@pytest.mark.parametrize(
    ("changes", "words"), [({"shape": (8, 8)}, "differ in Rows"), ({"pixel_spacing": (1.0, 1.0)}, "differ in PixelSp")]
)
def test_images_of_different_size(changes, words):
    frames = stack()
    with pytest.raises(InputError, match=words):
        grid_of([replace(frames[0], **changes), *frames[1:]])


def test_same_instance_twice():
    frames = stack()
    with pytest.raises(InputError, match=r"are the same instance.*: 5-0.0-1 and again"):
        grid_of([*frames, replace(frames[1], path=Path("again"))])
