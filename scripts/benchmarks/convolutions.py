"""What a device gives at best: the convolutions of a step alone, a large matrix product, a large convolution."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
"""A linear layer on rows of pixels is a 1x1 convolution."""


@dataclass(frozen=True)
class Convolution:
    """One call of ``layer``: shape and layout of its input, and which gradients the step asked for."""

    layer: nn.Module
    shape: tuple[int, ...]
    layout: torch.memory_format
    of_input: bool
    of_weight: bool


@contextmanager
def recorded(networks: nn.Module) -> Iterator[list[Convolution]]:
    """Within, each call of a convolution of ``networks`` is written down."""
    calls: list[Convolution] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if torch.is_grad_enabled():
            weight = next(layer.parameters())  # registered before the bias
            source = inputs[0]
            last = source.ndim == 4 and source.is_contiguous(memory_format=torch.channels_last)
            layout = torch.channels_last if last and not source.is_contiguous() else torch.contiguous_format
            shape = tuple(source.shape)
            calls.append(Convolution(layer, shape, layout, source.requires_grad, weight.requires_grad))

    hooks = [module.register_forward_hook(note) for module in networks.modules() if isinstance(module, CONVOLUTIONS)]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


class ConvolutionsAlone:
    """The recorded convolutions again, forward and backward at the same shapes on noise, with nothing between them."""

    def __init__(self, calls: Sequence[Convolution], device: torch.device | str) -> None:
        self.calls = calls
        shapes = {(call.shape, call.layout) for call in calls}
        self.inputs = {
            (shape, layout): torch.randn(shape, device=device).contiguous(memory_format=layout)
            for shape, layout in shapes
        }
        self.gradients: dict[tuple, Tensor] = {}

    def __call__(self) -> None:
        for call in self.calls:
            source = self.inputs[call.shape, call.layout].detach().requires_grad_(call.of_input)
            output = call.layer(source)
            wanted = [source] if call.of_input else []
            wanted += list(call.layer.parameters()) if call.of_weight else []
            if wanted:
                torch.autograd.grad(output, wanted, self._gradient(output))

    def _gradient(self, output: Tensor) -> Tensor:
        """Ones like ``output``, made once."""
        key = (output.shape, output.stride(), output.dtype)
        if key not in self.gradients:
            self.gradients[key] = torch.ones_like(output)
        return self.gradients[key]


def matrix_ceiling(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product."""
    size = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / _seconds(lambda: left @ right, device)


def convolution_ceiling(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large 3 x 3 convolution."""
    batch, channels, pixels = (64, 256, 48) if device.type == "cuda" else (10, 256, 48)
    images = torch.randn(batch, channels, pixels, pixels, device=device, dtype=dtype)
    weight = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
    if device.type == "cuda":
        images, weight = (t.contiguous(memory_format=torch.channels_last) for t in (images, weight))
    work = 2 * batch * pixels**2 * channels**2 * 9
    return work / _seconds(lambda: F.conv2d(images, weight, padding=1), device)


def _seconds(work: Callable[[], object], device: torch.device, rounds: int = 7) -> float:
    return median([timed(work, device) for _ in range(rounds)][2:])


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds until ``work()`` is done on ``device``."""
    _finish(device)
    began = perf_counter()
    work()
    _finish(device)
    return perf_counter() - began


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
