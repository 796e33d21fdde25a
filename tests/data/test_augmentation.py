"""Views of a batch: what is warped with what, what is repeatable, and what identity settings leave alone."""

import math
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor

from scripts.data.augmentation import BatchAugmentation, Tint, Warp, boxes
from scripts.errors import InputError
from scripts.labels import VOID

STILL = Warp(rotation=0, scale=1, stretch=1, shift=0, elastic=0, flip=False)
CLEAR = Tint(contrast=1, brightness=0, gamma=1, blur=0, noise=0)
OF_LABELED = {"strong_image", "other_label"}
VIEWS = OF_LABELED | {"strong_unlabeled_image", "mix"}


@pytest.fixture
def batch() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    label = torch.zeros(3, 24, 32, dtype=torch.int64)
    label[:, 6:16, 8:20], label[:, 10:13, 12:16], label[:, :2] = 1, 2, VOID
    images = {name: torch.randn(3, 1, 24, 32, generator=random) for name in ("image", "unlabeled_image")}
    return images | {"label": label}


def test_identity_settings_change_nothing(batch: dict[str, Tensor]) -> None:
    made = BatchAugmentation(STILL, CLEAR, CLEAR, STILL, views=True)(batch, 5)
    for name, original in (
        ("image", "image"),
        ("strong_image", "image"),
        ("unlabeled_image", "unlabeled_image"),
        ("strong_unlabeled_image", "unlabeled_image"),
    ):
        torch.testing.assert_close(made[name], batch[original], atol=1e-5, rtol=0)
    assert torch.equal(made["label"], batch["label"])
    assert torch.equal(made["other_label"], batch["label"])


def test_a_batch_is_the_same_however_the_run_came_there_and_another_number_is_another(batch: dict[str, Tensor]) -> None:
    augmentation = BatchAugmentation(views=True, seed=3)
    first, again, other = augmentation(batch, 7), augmentation(batch, 7), augmentation(batch, 8)
    assert set(first) == set(batch) | VIEWS
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["image"], other["image"])
    assert not torch.equal(first["image"], BatchAugmentation(views=True, seed=4)(batch, 7)["image"])


def test_without_views_or_unlabelled_images_there_is_nothing_more(batch: dict[str, Tensor]) -> None:
    assert set(BatchAugmentation()(batch, 0)) == set(batch)
    labelled = {name: batch[name] for name in ("image", "label")}
    assert set(BatchAugmentation(views=True)(labelled, 0)) == set(labelled) | OF_LABELED


def test_images_and_labels_are_warped_together() -> None:
    label = torch.zeros(8, 48, 48, dtype=torch.int64)
    label[:, 14:34, 18:30] = 1
    made = BatchAugmentation(Warp(), CLEAR)({"image": label.unsqueeze(1).float(), "label": label}, 0)
    agree = (made["image"][:, 0] > 0.5) == (made["label"] == 1)
    assert agree.float().mean() > 0.99
    assert not torch.equal(made["label"], label)


def test_labels_stay_classes_or_void(batch: dict[str, Tensor]) -> None:
    made = BatchAugmentation(views=True)(batch, 0)
    for name in ("label", "other_label"):
        assert made[name].dtype == torch.int64
        assert set(made[name].unique().tolist()) <= {0, 1, 2, VOID}


def test_a_pure_rotation_keeps_area_and_a_scale_changes_it_within_its_bounds() -> None:
    label = torch.zeros(200, 64, 64, dtype=torch.int64)
    label[:, 22:42, 22:42] = 1
    data = {"image": torch.zeros(200, 1, 64, 64), "label": label}
    still = asdict(STILL)
    turned = BatchAugmentation(Warp(**still | {"rotation": 45}))(data, 0)["label"].sum((1, 2)) / 400
    assert turned.min() > 0.93
    assert turned.max() < 1.07
    scaled = BatchAugmentation(Warp(**still | {"scale": 1.25}))(data, 0)["label"].sum((1, 2)) / 400
    assert 0.55 < scaled.min() < 0.75
    assert 1.35 < scaled.max() < 1.65


@pytest.mark.parametrize("size", [(32, 96), (96, 32)])
def test_a_rotation_turns_pixels_of_images_that_are_not_square(size: tuple[int, int]) -> None:
    """The principal axes of a bar, which a shear would make shorter or longer."""
    height, width = size
    label = torch.zeros(50, height, width, dtype=torch.int64)
    label[:, height // 2 - 3 : height // 2 + 3, width // 2 - 10 : width // 2 + 10] = 1
    data = {"image": torch.zeros(50, 1, height, width), "label": label}
    made = BatchAugmentation(Warp(**asdict(STILL) | {"rotation": 45}))(data, 0)["label"]
    for turned in made:
        spread = torch.cov(turned.nonzero().T.float())
        least, most = torch.linalg.eigvalsh(spread).tolist()
        assert math.sqrt(12 * most) == pytest.approx(20, rel=0.08)
        assert math.sqrt(12 * least) == pytest.approx(6, rel=0.15)


def test_views_are_of_the_same_warped_images(batch: dict[str, Tensor]) -> None:
    made = BatchAugmentation(Warp(), CLEAR, CLEAR, views=True)(batch, 0)
    for ours, original in (("image", "image"), ("unlabeled_image", "unlabeled_image")):
        assert not torch.allclose(made[ours], batch[original], atol=1e-2)
        torch.testing.assert_close(made[f"strong_{ours}"], made[ours], atol=1e-5, rtol=0)


def test_flips_mirror_each_axis_in_half_of_the_images() -> None:
    label = torch.zeros(400, 8, 8, dtype=torch.int64)
    label[:, 1, 2] = 1
    made = BatchAugmentation(Warp(**asdict(STILL) | {"flip": True}), CLEAR)(
        {"image": label[:, None].float(), "label": label}, 0
    )
    places = {(1, 2), (6, 2), (1, 5), (6, 5)}
    found = [tuple(place.tolist()) for place in made["label"].nonzero()[:, 1:]]
    assert set(found) == places
    assert all(60 < found.count(place) < 140 for place in places)


def test_a_tint_keeps_order_without_noise_and_blur_and_range_about() -> None:
    image = torch.linspace(-0.5, 0.5, 64).view(1, 1, 8, 8).repeat(20, 1, 1, 1)
    tinted = Tint(blur=0, noise=0)(image, torch.Generator().manual_seed(0))
    assert (tinted.flatten(1).diff(dim=1) >= 0).all()
    assert tinted.isfinite().all()
    assert tinted.abs().max() < 1


def test_boxes_are_single_rectangles_of_a_quarter_to_a_half() -> None:
    mix = boxes(100, (40, 60), torch.Generator().manual_seed(0))
    assert mix.shape == (100, 1, 40, 60)
    assert mix.dtype == torch.bool
    rows, columns = mix.any(3).squeeze(1), mix.any(2).squeeze(1)
    assert torch.equal(mix.squeeze(1), rows[:, :, None] & columns[:, None, :])
    share = mix.float().mean((1, 2, 3))
    assert share.min() > 0.2
    assert share.max() < 0.55


def test_boxes_take_other_shares_and_none_mixes_nothing(batch: dict[str, Tensor]) -> None:
    share = boxes(100, (40, 60), torch.Generator().manual_seed(0), (0.1, 0.1)).float().mean((1, 2, 3))
    assert share.mean() == pytest.approx(0.1, abs=0.01)
    cut_off = boxes(100, (40, 60), torch.Generator().manual_seed(0), (0.9, 0.9)).float().mean((1, 2, 3))
    assert 0.6 < cut_off.min() < cut_off.max() < 0.95
    assert not BatchAugmentation(views=True, box=[0, 0])(batch, 0)["mix"].any()
    plain, other = BatchAugmentation(views=True)(batch, 0), BatchAugmentation(views=True, box=[0, 0])(batch, 0)
    assert all(torch.equal(plain[name], other[name]) for name in VIEWS - {"mix"})


@pytest.mark.parametrize("box", [0.5, "[0,0]", ["0", "1"], [0.5], [0.5, 0.25], [-0.1, 0.5], [0.5, 1.5]])
def test_impossible_boxes_are_refused(box: Any) -> None:
    with pytest.raises(InputError, match=r"box takes the smallest and the largest share of the area"):
        BatchAugmentation(box=box)


def test_flags_of_a_command_line_are_read(batch: dict[str, Tensor]) -> None:
    assert "mix" not in BatchAugmentation(views="false")(batch, 0)  # type: ignore[arg-type]
    assert BatchAugmentation(warp={"flip": "false"}).warp == Warp(flip=False)
    with pytest.raises(InputError, match="--augmentation#warp#flip or #shapes#flip must be true or false"):
        BatchAugmentation(shapes={"flip": "maybe"})
    with pytest.raises(InputError, match="--augmentation#views must be true or false"):
        BatchAugmentation(views="maybe")  # type: ignore[arg-type]


def test_the_settings_of_a_config_are_mappings_and_unknown_ones_are_refused() -> None:
    assert BatchAugmentation(warp={"rotation": 5}).warp == Warp(rotation=5)
    with pytest.raises(TypeError, match="rotaton"):
        BatchAugmentation(warp={"rotaton": 5})


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Warp, {"scale": 0.8}),
        (Warp, {"shift": -1}),
        (Warp, {"stretch": math.nan}),
        (Tint, {"gamma": 0.5}),
        (Tint, {"noise": -1}),
    ],
)
def test_impossible_settings_are_refused(kind: type, settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match="takes numbers >= 0 and factors >= 1"):
        kind(**settings)
