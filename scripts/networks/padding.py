"""Any image size through networks that want multiples."""

import torch.nn.functional as F
from torch import Tensor, nn


class PadToMultiple(nn.Module):
    """Pad the input at the bottom and right to a multiple, run the network, crop its output back.

    At least two multiples: padding by reflection and instance norm need two pixels where the network is coarsest. Kept
    outside the networks: padding inside one breaks ``torch.export`` with dynamic shapes.

    Args:
        network: (B, C, H', W') to (B, K, H', W') for H' and W' divisible by ``multiple``.
        multiple: what the network's sizes must be divisible by.
    """

    def __init__(self, network: nn.Module, multiple: int = 4) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, x: Tensor) -> Tensor:
        """Apply the network to ``x`` (B, C, H, W) of any H and W; the output has the same H and W."""
        height, width = x.shape[-2:]
        bottom, right = self._missing(height), self._missing(width)
        if bottom or right:
            x = F.pad(x, (0, right, 0, bottom), mode="replicate")
        return self.network(x)[..., :height, :width]

    def _missing(self, size: int) -> int:
        return max(-size % self.multiple, 2 * self.multiple - size)
