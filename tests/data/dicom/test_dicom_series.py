"""Which series is the short-axis cine, and what else looks like one."""

from dataclasses import replace

import numpy as np
import pytest
from cineframes import COLUMN, NORMAL, ROW, frame, stack, turned

from scripts.data.dicom.frames import DERIVED
from scripts.data.dicom.series import common_orientation, find_short_axis
from scripts.errors import InputError

OTHERS = {
    "long axis": [frame(0.0, p, 2, orientation=turned(90)) for p in range(4)],
    "three long axes": [frame(8.0 * s, p, 3, orientation=turned(60 * s)) for s in range(3) for p in range(4)],
    "localiser": [frame(10.0 * s, 0, 1, orientation=turned(45 * (s % 3))) for s in range(15)],
    "static stack": stack(10, 1, 4),
    "perfusion": stack(3, 50, 6),
    "derived": stack(series=7, unfit=DERIVED),
    "phase maps": stack(series=8, unfit="phase maps"),
    "without geometry": stack(series=9, position=None),
}


@pytest.mark.parametrize("other", OTHERS)
def test_short_axis_found_among(other):
    found = find_short_axis(OTHERS[other] + stack())
    assert {f.series_number for f in found.frames} == {5}
    assert [len(frames) for frames in found.slices] == [4] * 6


def test_slices_follow_the_normal_whatever_the_order_of_files():
    frames = stack()
    np.random.default_rng(0).shuffle(frames)
    along = [np.dot(frames[0].position, NORMAL) for frames in find_short_axis(frames).slices]
    assert along == sorted(along)


@pytest.mark.parametrize("other", OTHERS)
def test_no_short_axis(other):
    with pytest.raises(InputError, match="no short-axis cine was found"):
        find_short_axis(OTHERS[other])


@pytest.mark.parametrize(
    ("frames", "hint"),
    [
        (stack(10, 1), "a single phase"),
        (stack(3), "The 3 slices found"),
        (stack(unfit=DERIVED), "--series"),
        ([], "came: no such image"),
        (stack(position=None), "24 image.s. without position"),
    ],
)
def test_error_says_what_came(frames, hint):
    with pytest.raises(InputError, match=hint):
        find_short_axis(frames)


def test_two_short_axes_are_told_apart_by_number_and_size():
    with pytest.raises(InputError, match=r"series 5 \(6 slice.* x 4 .*series 12 \(7 slice.* x 3 .*--series N"):
        find_short_axis(stack() + stack(7, 3, 12))


@pytest.mark.parametrize("number", [5, 12])
def test_series_is_chosen_by_number(number):
    found = find_short_axis(stack() + stack(7, 3, 12), series_number=number)
    assert found.frames[0].series_number == number


def test_derived_series_is_taken_when_named():
    assert len(find_short_axis(OTHERS["derived"], series_number=7).slices) == 6


def test_number_of_no_series():
    with pytest.raises(InputError, match="in series 6"):
        find_short_axis(stack(), series_number=6)


def test_two_series_of_one_number_need_another_folder():
    again = [replace(f, series_uid="9", study_uid="2") for f in stack()]
    with pytest.raises(InputError, match=r"2 different studies.*folder that holds one"):
        find_short_axis(stack() + again)


def test_a_series_for_each_slice_is_joined():
    frames = [frame(8.0 * s, p, 20 + s) for s in range(6) for p in range(4)]
    found = find_short_axis(frames + OTHERS["long axis"])
    assert [len(frames) for frames in found.slices] == [4] * 6
    assert len(found.series) == 6


@pytest.mark.parametrize(
    "stray",
    [
        [frame(0.0, 9, orientation=turned(10))],
        [frame(8.0 * s, 10 + p, orientation=turned(10)) for s in range(6) for p in range(4)],
    ],
)
def test_mixed_orientations(stray):
    with pytest.raises(InputError, match=rf"{len(stray)} more image.*10 degrees"):
        find_short_axis(stack() + stray)


def test_mixed_orientations_that_leave_no_stack():
    frames = [frame(8.0 * s, p, orientation=turned(15 if s == 1 else 0)) for s in range(5) for p in range(4)]
    with pytest.raises(InputError, match="mixes orientations"):
        find_short_axis(frames)


def test_images_without_position_in_the_stack():
    with pytest.raises(InputError, match=r"1 image.s. without a readable ImagePositionPatient"):
        find_short_axis([*stack(), frame(0.0, 9, position=None)])


@pytest.mark.parametrize(("difference", "one"), [(1e-6, True), (5e-5, True), (1e-3, False)])
def test_roundings_are_one_orientation(difference, one):
    frames = stack()
    frames[3] = replace(frames[3], orientation=(ROW[0] + difference, *ROW[1:], *COLUMN))
    if one:
        found = find_short_axis(frames)
        assert len(found.frames) == 24
        assert common_orientation(found.frames) == (*ROW, *COLUMN)
    else:
        with pytest.raises(InputError, match="mixes orientations"):
            find_short_axis(frames)
