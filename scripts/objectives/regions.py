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
    size = torch.tensor(label.shape[-2:], device=label.device)
    ours, theirs = _centre_and_area(label > 0), _centre_and_area(heart)
    factor = (theirs[1] / ours[1]).sqrt().clamp(0.8, 1.25)
    # In the units of grid_sample, x before y: a pixel p of the result is looked up at ours + (p - theirs) / factor.
    centre, target = (2 * (c[0] + 0.5) / size - 1 for c in (ours, theirs))
    shift = (centre - target / factor[:, None]).flip(1)
    linear = torch.eye(2, device=label.device) / factor.view(-1, 1, 1)
    grid = F.affine_grid(torch.cat([linear, shift.unsqueeze(-1)], -1), [len(label), 1, *label.shape[-2:]], False)
    moved = F.grid_sample(label.unsqueeze(1).float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return moved.squeeze(1).round().long()


def _centre_and_area(heart: Tensor) -> tuple[Tensor, Tensor]:
    """Mean row and column, (B, 2) float32, and pixels, at least 1, (B,) float32, of (B, H, W) bool."""
    weight = heart.float()
    area = weight.sum((1, 2)).clamp(min=1)
    rows = torch.arange(heart.shape[1], device=heart.device, dtype=torch.float32)
    columns = torch.arange(heart.shape[2], device=heart.device, dtype=torch.float32)
    row, column = (weight.sum(2) * rows).sum(1) / area, (weight.sum(1) * columns).sum(1) / area
    return torch.stack([row, column], 1), area


def foreground(label: Tensor) -> Tensor:
    """Where ``label`` (B, H, W) int64 is a class above 0, bool; void is none."""
    return (label > 0) & (label != VOID)
