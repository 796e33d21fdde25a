"""What the image itself says of its classes: how well the shade and spread of each explain a pixel.

The paper's image cycle (equation 6) asks whether a mask explains the image it was made of. With an image generator that paints each
class in one normal distribution, fitted to the image, the question has an answer in closed form, for each class at each pixel.
"""

import torch
from torch import Tensor

from scripts.objectives.regions import around
from scripts.objectives.terms import one_hot

SMALLEST_SPREAD = 0.015
"""Standard deviation of a class, at least, in units of a normalised image (its range is 1): a few pixels of one value are no proof."""


def log_likelihoods(image: Tensor, label: Tensor, region: Tensor, num_classes: int) -> Tensor:
    """Logarithm of the normal density of each pixel of ``image`` in each class, (B, K, H, W) float32.

    Mean and variance of a class are those of the image's own pixels that ``label`` gives it within ``region``; -inf for a class
    without any. Channels count as independent.

    Args:
        image: (B, C, H, W) float.
        label: (B, H, W) int64 in [0, K).
        region: (B, 1, H, W) bool.
    """
    image = image.float().unsqueeze(1)
    weight = (one_hot(label, num_classes) * region).to(image.dtype).unsqueeze(2)
    count = weight.sum((3, 4), keepdim=True)
    mean = (weight * image).sum((3, 4), keepdim=True) / count.clamp(min=1)
    squares = (image - mean) ** 2
    variance = ((weight * squares).sum((3, 4), keepdim=True) / count.clamp(min=1)).clamp(min=SMALLEST_SPREAD**2)
    density = -0.5 * (squares / variance + variance.log()).sum(2)
    return density.where(count[:, :, 0] > 0, -torch.inf)


def explained(logits: Tensor, image: Tensor, exponent: float, margin: int = 4) -> Tensor:
    """Probabilities (B, K, H, W) float32 of ``logits`` (B, K, H, W), times the likelihood of ``image`` to the ``exponent``, within
    ``margin`` pixels of what the logits take for anything but class 0; elsewhere as they are."""
    with torch.autocast(image.device.type, enabled=False):
        logits = logits.float()
        label = logits.argmax(1)
        region = around(label > 0, margin)
        likelihood = log_likelihoods(image, label, region, logits.shape[1])
        return (logits + exponent * likelihood).where(region, logits).softmax(1)
