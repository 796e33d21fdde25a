"""Instance norm by the kernel that is fast where it runs."""

import torch.nn.functional as F
from torch import Tensor, nn


class InstanceNorm2d(nn.InstanceNorm2d):
    """``nn.InstanceNorm2d`` without learned scale or running statistics: each channel of each image to mean 0 and
    variance 1.

    On the CPU it is a group norm with a group a channel: the same numbers, by a kernel that is twice as fast. On CUDA
    autocast would take group norm to float32, and instance norm stays.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) float to the same shape."""
        return F.group_norm(x, x.shape[1], eps=self.eps) if x.device.type == "cpu" else super().forward(x)
