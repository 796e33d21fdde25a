"""Where hearts are and what is around them: pixels, centres, and labels brought to a place."""

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.labels import VOID


def around(heart: Tensor, margin: int) -> Tensor:
    """Pixels (B, 1, H, W) bool at most ``margin`` from ``heart`` (B, H, W) bool, by rows and columns."""
    grown = F.max_pool2d(heart.unsqueeze(1).float(), 2 * margin + 1, stride=1, padding=margin)
    return grown > 0


def moved_to(label: Tensor, heart: Tensor) -> Tensor:
    """``label`` (B, H, W) int64 shifted so that the centre of its classes above 0 is that of ``heart`` (B, H, W) bool, and scaled to
    its area, by at most 1.25 either way; 0 comes in from outside."""
    (ours, area), (theirs, wanted) = _centre_and_area(label > 0), _centre_and_area(heart)
    factor = (wanted / area).sqrt().clamp(0.8, 1.25)
    shift = ours - theirs / factor[:, None]  # a point p of the result is looked up at ours + (p - theirs) / factor
    linear = torch.eye(2, device=label.device) / factor.view(-1, 1, 1)
    with torch.autocast(label.device.type, enabled=False):  # bfloat16 would place pixels a quarter of one apart
        grid = F.affine_grid(torch.cat([linear, shift.unsqueeze(-1)], -1), [len(label), 1, *label.shape[-2:]], False)
    moved = F.grid_sample(label.unsqueeze(1).float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return moved.squeeze(1).round().long()


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
