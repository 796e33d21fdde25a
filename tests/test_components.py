"""Which pieces of a segmented volume are kept: examples with known answers, and what holds of any volume."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.transforms import KeepLargestConnectedComponent
from scipy import ndimage
from torch import Tensor

from scripts.components import KeepMainComponents

RV, MYOCARDIUM, LV = 1, 2, 3
VOLUMES = arrays(np.int64, st.tuples(st.just(1), *[st.integers(1, 5)] * 3), elements=st.integers(0, 3))


def heart(right: bool = True) -> Tensor:
    """(1, 20, 12, 2): a left ventricle in its myocardium, and a right one beside it."""
    labels = torch.zeros(1, 20, 12, 2, dtype=torch.int64)
    labels[:, 4:10, 2:8] = MYOCARDIUM
    labels[:, 6:8, 4:6] = LV
    if right:
        labels[:, 2:4, 2:8] = RV
    return labels


def kept(labels: Tensor) -> Tensor:
    return KeepMainComponents([RV, MYOCARDIUM, LV])(labels)


def test_a_heart_is_kept_whole() -> None:
    assert torch.equal(kept(heart()), heart())


def test_a_wrong_piece_far_from_the_heart_is_left_out_though_it_is_larger() -> None:
    labels = heart()
    labels[:, 12:20] = RV  # 192 voxels, where the right ventricle has 24
    assert torch.equal(kept(labels), heart())
    alone = torch.as_tensor(KeepLargestConnectedComponent([RV, MYOCARDIUM, LV])(labels))
    assert (alone[:, 2:4] == 0).all(), "the largest of each class would be the wrong one"


def test_of_a_class_the_largest_component_of_the_main_piece_stays() -> None:
    labels = heart()
    labels[:, 10, 4] = RV  # touches the myocardium from the other side
    assert torch.equal(kept(labels), heart())


def test_a_few_stray_voxels_of_all_classes_are_no_heart() -> None:
    labels = heart(right=False)
    labels[0, 17, 4:7, 0] = torch.tensor([RV, MYOCARDIUM, LV])
    expected = heart(right=False)
    expected[0, 17, 4, 0] = RV
    assert torch.equal(kept(labels), expected)


def test_organs_that_do_not_touch_are_both_kept_whatever_touches_one_of_them() -> None:
    labels = torch.zeros(1, 20, 12, 2, dtype=torch.int64)
    labels[:, 2:7, 2:7], labels[:, 12:17, 2:7] = LV, RV
    expected = labels.clone()
    labels[0, 7, 2, 0] = RV
    assert torch.equal(kept(labels), expected)


def test_a_class_that_the_main_piece_lacks_keeps_its_largest_component() -> None:
    labels = heart(right=False)
    labels[:, 14:17, 4:6] = RV
    expected = labels.clone()
    labels[:, 19, 11] = RV
    assert torch.equal(kept(labels), expected)


def test_corners_connect() -> None:
    labels = torch.zeros(1, 4, 4, 2, dtype=torch.int64)
    labels[0, 0, 0, 0], labels[0, 1, 1, 1] = LV, LV
    assert torch.equal(kept(labels), labels)


def test_values_that_are_no_class_here_stay_and_connect_nothing() -> None:
    labels = heart()
    labels[:, 10:12, 4] = 9
    labels[:, 12:14, 4] = RV
    expected = heart()
    expected[:, 10:12, 4] = 9
    assert torch.equal(kept(labels), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_the_type_stays_and_nothing_in_is_nothing_out(dtype: torch.dtype) -> None:
    nothing = torch.zeros(1, 3, 3, 2, dtype=dtype)
    assert kept(nothing).dtype == dtype
    assert not kept(nothing).any()
    assert kept(heart().to(dtype)).dtype == dtype


@given(VOLUMES)
def test_each_class_keeps_one_of_its_components(volume: np.ndarray) -> None:
    labels = torch.from_numpy(volume)
    result = kept(labels)
    assert ((result == labels) | (result == 0)).all()
    for value in (RV, MYOCARDIUM, LV):
        _, count = ndimage.label(result.numpy()[0] == value, np.ones((3, 3, 3)))
        assert count == bool((labels == value).any())
    assert torch.equal(kept(result), result)


def test_what_touches_the_main_piece_is_preferred_from_a_tenth_of_its_class_on() -> None:
    near = heart()
    near[:, 2:4] = 0
    near[:, 3, 2:4] = RV  # 4 voxels
    for far, stays in ((36, True), (37, False)):
        labels = near.clone()
        labels[:, 12:20].view(-1)[:far] = RV
        assert (kept(labels)[:, 3, 2:4] == RV).all() == stays
        assert (kept(labels)[:, 12:] == RV).any() != stays
