"""Where hearts are and what is around them: pixels, centres, windows, shades, and labels brought to a place."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.labels import VOID


def around(heart: Tensor, margin: int) -> Tensor:
    """Pixels (B, 1, H, W) bool at most ``margin`` from ``heart`` (B, H, W) bool, by rows and columns."""
    grown = F.max_pool2d(heart.unsqueeze(1).float(), 2 * margin + 1, stride=1, padding=margin)
    return grown > 0


@dataclass(frozen=True)
class Windows:
    """One window of h x w pixels in each image of a batch.

    Args:
        rows, columns: (B, h, 1) and (B, 1, w) int64, in the image.
    """

    rows: Tensor
    columns: Tensor

    def cut(self, image: Tensor) -> Tensor:
        """The windows of ``image`` (B, C, H, W), (B, C, h, w)."""
        return image.movedim(1, -1)[self._items(), self.rows, self.columns].movedim(-1, 1)

    def paste(self, patch: Tensor, size: Sequence[int]) -> Tensor:
        """``patch`` (B, C, h, w) in its windows of images (B, C, H, W) of ``size`` (H, W) that are 0 elsewhere."""
        empty = patch.new_zeros(len(patch), *size, patch.shape[1])
        return empty.index_put((self._items(), self.rows, self.columns), patch.movedim(1, -1)).movedim(-1, 1)

    def _items(self) -> Tensor:
        return torch.arange(len(self.rows), device=self.rows.device).view(-1, 1, 1)


def windows_about(region: Tensor, share: float) -> Windows:
    """Windows about the bounding boxes of ``region`` (B, 1, H, W) bool, within the image, about its centre where a region is empty.

    Args:
        share: of H and W, in (0, 1]; rounded up to a multiple of 8 pixels, at most H and W.
    """
    rows = _window(region.any(3).squeeze(1), share)
    columns = _window(region.any(2).squeeze(1), share)
    return Windows(rows.unsqueeze(2), columns.unsqueeze(1))


def _window(occupied: Tensor, share: float) -> Tensor:
    """Positions (B, n) int64 about the first and last True of ``occupied`` (B, N) bool."""
    length = occupied.shape[1]
    size = min(length, 8 * ceil(share * length / 8))
    first = occupied.int().argmax(1)
    last = length - 1 - occupied.int().flip(1).argmax(1)
    start = ((first + last + 1 - size) // 2).clamp(0, length - size)
    return start.unsqueeze(1) + torch.arange(size, device=occupied.device)


def moved_to(label: Tensor, there: Tensor) -> Tensor:
    """``label`` (B, H, W) int64, its classes above 0 brought to the centre and area of those of ``there`` (B, H, W) int64 (by a factor of
    at most 1.25 either way); 0 comes in from outside."""
    with torch.autocast(label.device.type, enabled=False):  # bfloat16 would place pixels a quarter of one apart
        (ours, area), (theirs, wanted) = _centre_and_area(label > 0), _centre_and_area(there > 0)
        factor = (wanted / area).sqrt().clamp(0.8, 1.25)
        # A point p of the result is looked up at ours + (p - theirs) / factor.
        linear = torch.eye(2, device=label.device) / factor.view(-1, 1, 1)
        shift = ours.unsqueeze(-1) - linear @ theirs.unsqueeze(-1)
        grid = F.affine_grid(torch.cat([linear, shift], -1), [len(label), 1, *label.shape[-2:]], align_corners=False)
        moved = F.grid_sample(label.unsqueeze(1).float(), grid, mode="nearest", align_corners=False)
    return moved.squeeze(1).round().long()


def class_means(image: Tensor, mask: Tensor, region: Tensor) -> Tensor:
    """Mean of ``image`` (B, C, H, W) over each class of ``mask`` (B, K, H, W) within ``region`` (B, 1, H, W) bool: (B, K, C).

    An image that lacks a class takes the mean of it in the batch, or its own of the whole region where no image has it.

    Args:
        mask: one-hot.
    """
    weight = (mask * region).to(image.dtype)
    total, count = (weight.unsqueeze(2) * image.unsqueeze(1)).sum((3, 4)), weight.sum((2, 3)).unsqueeze(-1)
    common = torch.where(
        count.sum(0) > 0,
        total.sum(0) / count.sum(0).clamp(min=1),
        total.sum(1, keepdim=True) / count.sum(1, keepdim=True).clamp(min=1),
    )
    return torch.where(count > 0, total / count.clamp(min=1), common)


def painted(mask: Tensor, shades: Tensor) -> Tensor:
    """``mask`` (B, K, H, W) with each class in its shade, (B, K, C): (B, C, H, W)."""
    return (mask.unsqueeze(2) * shades[..., None, None]).sum(1)


def _centre_and_area(heart: Tensor) -> tuple[Tensor, Tensor]:
    """Centre (x, y) in [-1, 1] as grid_sample has it, (B, 2), and pixels, at least 1, (B,), float32, of (B, H, W) bool; without pixels
    the centre is the image's."""
    weight = heart.float()
    area = weight.sum((1, 2)).clamp(min=1)
    rows, columns = (_positions(length, heart.device) for length in heart.shape[1:])
    x, y = (weight.sum(1) * columns).sum(1) / area, (weight.sum(2) * rows).sum(1) / area
    return torch.stack([x, y], 1), area


def _positions(length: int, device: torch.device) -> Tensor:
    """Centres of ``length`` pixels in [-1, 1]."""
    return (2 * torch.arange(length, device=device, dtype=torch.float32) + 1) / length - 1


def foreground(label: Tensor) -> Tensor:
    """Where ``label`` (B, H, W) int64 is a class above 0, bool; void is none."""
    return (label > 0) & (label != VOID)
