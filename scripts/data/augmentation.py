"""Random views of a batch, made on its device: warped, with other intensities, and masks to mix and to render.

What a view looks like depends on the seed and the number of the batch alone, as the batch itself does, so a resumed run
sees the same (on the same kind of device, since a GPU draws other numbers). All images of a batch are warped in one call;
parameters are drawn for each image by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from scripts.configuration import flag
from scripts.errors import InputError


def _check(part: "Warp | Tint", numbers: Sequence[float], factors: Sequence[float]) -> None:
    if not (all(number >= 0 for number in numbers) and all(factor >= 1 for factor in factors)):
        raise InputError(f"a {type(part).__name__.lower()} takes numbers >= 0 and factors >= 1, got {part}.")


@dataclass(frozen=True)
class Warp:
    """A random affine map and a smooth displacement; each number is the largest that is drawn.

    Attributes:
        rotation: degrees, either way.
        scale: factor f; sizes change by 1/f to f, log-uniformly.
        stretch: factor g; one axis changes by 1/g to g, the other by the inverse.
        shift: share of the image's size, either way.
        elastic: displacement as a share of the image's size (standard deviation at the nodes of a coarse grid).
        flip: mirror each axis with probability 1/2.

    Raises:
        InputError: a negative number, a factor below 1, or a flip neither true nor false.
    """

    rotation: float = 30.0
    scale: float = 1.25
    stretch: float = 1.1
    shift: float = 0.08
    elastic: float = 0.012
    flip: bool = True

    def __post_init__(self) -> None:
        _check(self, (self.rotation, self.shift, self.elastic), (self.scale, self.stretch))
        # It is a string, "false", on a command line.
        object.__setattr__(self, "flip", flag(self.flip, "augmentation#warp#flip or #shapes#flip"))

    def grid(self, count: int, size: tuple[int, int], random: Generator) -> Tensor:
        """Sampling positions for ``F.grid_sample``, (count, H, W, 2) float32 in [-1, 1] where inside."""
        angle = _symmetric(count, random) * (self.rotation * pi / 180)
        factor = self.scale ** _symmetric(count, random)
        ratio = self.stretch ** _symmetric(count, random)
        mirror = torch.randint(2, (2, count), generator=random, device=random.device) * 2 - 1
        mirror = mirror if self.flip else torch.ones_like(mirror)
        cos, sin = angle.cos() / factor, angle.sin() / factor
        tall = size[0] / size[1]  # what is turned are pixels, and positions are shares of height and width
        linear = torch.stack(
            [
                cos * ratio * mirror[0],
                -sin / ratio * mirror[1] * tall,
                sin * ratio * mirror[0] / tall,
                cos / ratio * mirror[1],
            ],
            -1,
        ).view(count, 2, 2)
        shift = 2 * self.shift * torch.stack([_symmetric(count, random), _symmetric(count, random)], -1)
        grid = F.affine_grid(torch.cat([linear, shift.unsqueeze(-1)], -1), [count, 1, *size], align_corners=False)
        nodes = 2 * self.elastic * torch.randn(count, 2, 6, 6, generator=random, device=random.device)
        return grid + F.interpolate(nodes, size, mode="bicubic", align_corners=True).movedim(1, -1)


@dataclass(frozen=True)
class Tint:
    """Random changes of intensity, the same at all pixels of an image but for the noise.

    Attributes:
        contrast: factor about the image's mean, log-uniform in 1/c to c.
        brightness: added, as a share of the image's range, either way.
        gamma: exponent of intensities brought to [0, 1], log-uniform in 1/g to g.
        blur: the image is mixed with a smooth one by up to this share, or sharpened by half of it.
        noise: largest standard deviation of the noise, as a share of the range.

    Raises:
        InputError: a negative number, or a factor below 1.
    """

    contrast: float = 1.3
    brightness: float = 0.1
    gamma: float = 1.3
    blur: float = 0.5
    noise: float = 0.03

    def __post_init__(self) -> None:
        _check(self, (self.brightness, self.blur, self.noise), (self.contrast, self.gamma))

    def __call__(self, images: Tensor, random: Generator) -> Tensor:
        """Images (B, C, H, W) float of any range, changed; the range stays about the same."""
        count = len(images)

        def drawn() -> Tensor:
            return _symmetric(count, random).view(-1, 1, 1, 1)

        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        extent = (high - low).clamp(min=1e-6)
        images = ((images - low) / extent) ** (self.gamma ** drawn()) * extent + low
        mean = images.mean((1, 2, 3), keepdim=True)
        images = (images - mean) * self.contrast ** drawn() + mean + self.brightness * extent * drawn()
        smooth = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        images = images + (0.25 + 0.75 * drawn()) * self.blur * (smooth - images)
        noise = torch.randn(images.shape, generator=random, device=random.device)
        return images + self.noise * extent * drawn().abs() * noise


STRONG = Tint(contrast=1.6, brightness=0.2, gamma=1.6, blur=1.0, noise=0.06)
SHAPES = Warp(rotation=15.0, scale=1.2, stretch=1.2, shift=0.0, elastic=0.02, flip=False)
BOX = (0.25, 0.5)


class BatchAugmentation:
    """Views of a batch of ``scripts.data.unpaired.UnpairedBatches``; call it with the batch and its number.

    ``image`` with ``label``, and ``unlabeled_image`` where it is, are warped and weakly tinted. With ``views`` come

    - ``strong_image``, ``strong_unlabeled_image`` (B, C, H, W): the same warped images under a strong tint;
    - ``mix`` (B, 1, H, W) bool: a random box, for mixing two images (CutMix);
    - ``other_label`` (B, H, W) int64: labels of the batch under a further warp, shapes that no labelled image has.

    Args:
        warp, weak, strong, shapes: of the views above, as objects or mappings of their settings; ``shapes`` warps
            ``other_label``.
        box: smallest and largest share of an image's area that the box of ``mix`` covers (less, above 1/2: see ``boxes``); (0, 0) mixes nothing.
        views: whether to make the further views.
        seed: of the draws.

    Raises:
        TypeError: a setting that a part has not. InputError: for other shares than 0 <= smallest <= largest <= 1, or views neither true nor
            false; see ``Warp`` and ``Tint``.
    """

    def __init__(
        self,
        warp: Warp | Mapping[str, Any] = Warp(),
        weak: Tint | Mapping[str, Any] = Tint(),
        strong: Tint | Mapping[str, Any] = STRONG,
        shapes: Warp | Mapping[str, Any] = SHAPES,
        box: Sequence[float] = BOX,
        views: bool = False,
        seed: int = 0,
    ) -> None:
        self.warp = warp if isinstance(warp, Warp) else Warp(**warp)
        self.weak = weak if isinstance(weak, Tint) else Tint(**weak)
        self.strong = strong if isinstance(strong, Tint) else Tint(**strong)
        self.shapes = shapes if isinstance(shapes, Warp) else Warp(**shapes)
        self.box = _shares(box)
        self.views = flag(views, "augmentation#views")
        self.seed = seed

    def __call__(self, batch: Mapping[str, Any], position: int) -> dict[str, Any]:
        image, label = batch["image"], batch["label"]
        random = Generator(image.device).manual_seed(_number(self.seed, position))
        done = dict(batch)
        size = (int(image.shape[-2]), int(image.shape[-1]))
        grid = self.warp.grid(len(image), size, random)
        warped, done["label"] = _warped(image, grid), _warped_label(label, grid)
        done["image"] = self.weak(warped, random)
        if self.views:
            done["strong_image"] = self.strong(warped, random)
            done["other_label"] = _warped_label(done["label"], self.shapes.grid(len(image), size, random))
        if "unlabeled_image" in batch:
            others = batch["unlabeled_image"]
            warped = _warped(others, self.warp.grid(len(others), size, random))
            done["unlabeled_image"] = self.weak(warped, random)
            if self.views:
                done["strong_unlabeled_image"] = self.strong(warped, random)
                done["mix"] = boxes(len(warped), size, random, self.box)
        return done


def boxes(count: int, size: tuple[int, int], random: Generator, shares: tuple[float, float] = BOX) -> Tensor:
    """A random box in each of ``count`` images of ``size`` (H, W), of the least to the most of ``shares`` of the area:
    (count, 1, H, W) bool. Above 1/2, a box that would reach beyond the image is cut off and covers less."""
    least, most = shares
    area = least + (most - least) * torch.rand(count, generator=random, device=random.device)
    ratio = 2 ** _symmetric(count, random)  # of the sides, in 1/2 to 2
    inside = []
    for length, share in zip(size, ((area * ratio).sqrt(), (area / ratio).sqrt()), strict=True):
        share = share.clamp(max=1)
        start = torch.rand(count, generator=random, device=random.device) * (1 - share)
        centres = (torch.arange(length, device=random.device) + 0.5) / length
        inside.append((centres >= start[:, None]) & (centres < (start + share)[:, None]))
    return (inside[0][:, :, None] & inside[1][:, None, :]).unsqueeze(1)


def _shares(box: Sequence[float]) -> tuple[float, float]:
    match box:
        case [float() | int() as least, float() | int() as most] if 0 <= least <= most <= 1:
            return least, most
    raise InputError(
        f"box takes the smallest and the largest share of the area, 0 <= smallest <= largest <= 1, got {box!r}."
    )


def _warped(image: Tensor, grid: Tensor) -> Tensor:
    """Images (B, C, H, W) looked up at ``grid``, between pixels; beyond the border, its pixels go on."""
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _warped_label(label: Tensor, grid: Tensor) -> Tensor:
    """Labels (B, H, W) int64 looked up at ``grid``, at the nearest pixel."""
    classes = label.unsqueeze(1).float()
    nearest = F.grid_sample(classes, grid, mode="nearest", padding_mode="border", align_corners=False)
    return nearest.squeeze(1).round().long()


def _number(seed: int, position: int) -> int:
    """A number of 32 bits for each pair; few share one."""
    return int(np.random.SeedSequence([seed, position]).generate_state(1)[0])


def _symmetric(count: int, random: Generator) -> Tensor:
    """Uniform in [-1, 1), (count,)."""
    return 2 * torch.rand(count, generator=random, device=random.device) - 1
