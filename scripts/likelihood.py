"""What an image itself says of its classes, beside what a network sees in it.

The paper's image cycle (equation 6) asks whether a mask explains the image that it was made of. Of an image generator that paints
each class in one normal distribution, fitted to the image at hand, the question has an answer in closed form: the density of each
pixel in each class. So the cycle can be closed where a trained network is used, without anything that is learned.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST_SPREAD = 0.015
"""Standard deviation of a class, at least, in units of a normalised image, whose range is 1."""
PRIOR_PIXELS = 20
"""As many pixels of the mean variance of all classes count beside those of each class, so that a few of one value get no high peak."""
MARGIN = 4
"""Pixels of the networks' grid around what the network takes for an object within which the image counts (9 mm where it was measured)."""


def log_densities(image: Tensor, label: Tensor, region: Tensor, num_classes: int) -> Tensor:
    """Logarithm of the normal density of each pixel of ``image`` in each class, (B, K, H, W) float32, without the constant.

    Mean and variance of a class are of the pixels that ``label`` gives it within ``region``, in the same image, the variance with
    ``PRIOR_PIXELS``; -inf for a class without any. Channels count as independent.

    Args:
        image: (B, C, H, W) float, normalised.
        label: (B, H, W) int64 in [0, K).
        region: (B, 1, H, W) bool.
    """
    image = image.float().unsqueeze(1)
    weight = F.one_hot(label, num_classes).movedim(-1, 1).mul(region).unsqueeze(2).float()
    count = weight.sum((3, 4), keepdim=True)
    mean = (weight * image).sum((3, 4), keepdim=True) / count.clamp(min=1)
    squares = (image - mean) ** 2
    within = (weight * squares).sum((3, 4), keepdim=True)
    common = within.sum(1, keepdim=True) / count.sum(1, keepdim=True).clamp(min=1)
    variance = ((within + PRIOR_PIXELS * common) / (count + PRIOR_PIXELS)).clamp(min=SMALLEST_SPREAD**2)
    densities = -0.5 * (squares / variance + variance.log()).sum(2)
    return densities.where(count[:, :, 0] > 0, -torch.inf)


def explained(logits: Tensor, image: Tensor, exponent: float) -> Tensor:
    """Class probabilities of a network, times the density of the image to an exponent, near objects.

    Args:
        logits: (B, K, H, W) float of ``image``; class 0 is background.
        image: (B, C, H, W) float, normalised.
        exponent: in [0, 1]; 0 leaves the probabilities as they are, 1 is Bayes' rule, as if the network had not seen the shades. Above
            0 a class that is nowhere the most probable near objects of an image has probability 0 there.

    Returns:
        (B, K, H, W) float32, of sum 1 over the classes.
    """
    logits = logits.float()
    if not exponent:
        return logits.softmax(1)
    label = logits.argmax(1)
    near = F.max_pool2d((label > 0).float().unsqueeze(1), 2 * MARGIN + 1, stride=1, padding=MARGIN) > 0
    weighed = logits + exponent * log_densities(image, label, near, logits.shape[1])
    return weighed.where(near, logits).softmax(1)
