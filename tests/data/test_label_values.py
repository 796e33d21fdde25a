"""Values of label files as classes."""

import numpy as np
import pytest
from imagesets import train_ids

from scripts.data.cityscapes import LABEL_MAP
from scripts.data.label_values import mapped
from scripts.errors import InputError

ALL_LABEL_IDS = np.arange(34, dtype=np.uint8).reshape(2, 17)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int64, np.uint64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (1, 5, 1, 1)])
def test_without_a_map_values_are_classes(dtype: type, shape: tuple[int, ...]) -> None:
    values = np.array([0, 1, 2, 3, 3], dtype).reshape(shape)
    classes = mapped(values, 4)
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes, values)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_void_stays_void(dtype: type) -> None:
    np.testing.assert_array_equal(mapped(np.array([0, 255, 1], dtype), 2), [0, 255, 1])


def test_a_mask_of_truth_values_is_two_classes() -> None:
    np.testing.assert_array_equal(mapped(np.array([True, False]), 2), [1, 0])


def test_what_the_map_does_not_name_is_void() -> None:
    values = np.array([[0, 4, 9], [9, 255, 30]], np.uint8)
    np.testing.assert_array_equal(mapped(values, 3, {"0": 0, "4": 2, "9": 1}), [[0, 2, 1], [1, 255, 255]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_values_of_any_type_are_mapped(dtype: type) -> None:
    np.testing.assert_array_equal(mapped(np.array([7, 0, 7], dtype), 2, {"7": 1, "0": 0}), [1, 0, 1])


def test_a_map_can_make_one_class_of_two_values_and_void_of_a_third() -> None:
    values = np.array([0, 1, 2, 3], np.uint8)
    np.testing.assert_array_equal(mapped(values, 2, {"0": 0, "1": 1, "2": 1, "3": 255}), [0, 1, 1, 255])


def test_a_map_can_give_255_a_class() -> None:
    """A binary mask of 0 and 255, as many programs write it."""
    np.testing.assert_array_equal(mapped(np.array([0, 255, 255], np.uint8), 2, {"0": 0, "255": 1}), [0, 1, 1])


def test_cityscapes_label_ids_become_train_ids() -> None:
    classes = mapped(ALL_LABEL_IDS, 19, LABEL_MAP)
    np.testing.assert_array_equal(classes, train_ids(ALL_LABEL_IDS))
    assert sorted(set(classes[classes < 255].tolist())) == list(range(19))


def test_the_given_array_is_not_changed() -> None:
    values = np.array([7, 8, 255], np.uint8)
    mapped(values, 2, {"7": 1, "8": 0})
    np.testing.assert_array_equal(values, [7, 8, 255])


def test_an_empty_map_is_none() -> None:
    np.testing.assert_array_equal(mapped(np.array([0, 1], np.uint8), 2, {}), [0, 1])


# What is refused


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.array([0, 4], np.uint8), "4"),
        (np.array([0, 254, 9, 9], np.uint8), "9, 254"),
        (np.array([300, 0], np.uint16), "300"),
        (np.array([256 + 1, 0], np.int32), "257"),
        (np.array([0, -1], np.int8), "-1"),
        (np.array([0, -1, 1], np.int64), "-1"),
        (np.array([0.5, 1.0], np.float32), "0.5"),
        (np.array([0, np.nan]), "nan"),
        (np.array([0, np.inf]), "inf"),
        (np.array([-1.0, 1.0]), "-1"),
        (np.arange(4, 40, dtype=np.uint8), "4, 5, 6, 7, 8, 9, 10, 11"),
    ],
    ids=["4", "254", "300", "257", "-1 of 8 bits", "-1 of 64 bits", "0.5", "NaN", "inf", "-1.0", "many"],
)
def test_values_that_are_no_class_are_refused(values: np.ndarray, shown: str) -> None:
    with pytest.raises(InputError) as raised:
        mapped(values, 4, path="some/mask.png")
    assert str(raised.value) == (
        f"some/mask.png has the label values {shown}, expected 0 to 3 or 255 (void): map the labels (label_map in a data "
        "list), or set num_classes."
    )


@pytest.mark.parametrize("bad", [0.5, np.nan, -7.0, 300.0])
def test_a_map_does_not_make_classes_of_what_is_no_value(bad: float) -> None:
    with pytest.raises(InputError, match=rf"mask has the label values {bad:g}, expected"):
        mapped(np.array([7, bad]), 2, {"7": 1}, "mask")


def test_a_map_to_a_class_beyond_the_number_of_classes_is_refused() -> None:
    with pytest.raises(InputError, match="has the label values 9, expected 0 to 2"):
        mapped(np.array([4, 9], np.uint8), 3, {"4": 2, "9": 3})


@pytest.mark.parametrize("ids", [[7, 8, 11, 23, 1], [7, 11, 17, 3], list(range(34))], ids=["few", "fewer", "all"])
def test_cityscapes_masks_that_are_mapped_already_are_refused(ids: list[int]) -> None:
    """labelTrainIds under the name of labelIds would lose most classes without a word."""
    label_ids = np.array(ids, np.uint8)
    mapped(label_ids, 19, LABEL_MAP)
    with pytest.raises(InputError, match=r"mask street\.png holds the values 0, .*, 255: .*Give the labelIds files"):
        mapped(train_ids(label_ids), 19, LABEL_MAP, "street.png")
