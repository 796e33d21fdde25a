"""Any size goes through a network that wants multiples."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from scripts.networks.padding import PadToMultiple
from scripts.networks.resnet_generator import ResNetGenerator

sizes = st.integers(1, 40)


class Recorder(nn.Module):
    """Doubles the channels and remembers what it was given."""

    def forward(self, x: Tensor) -> Tensor:
        self.given = x
        return torch.cat([x, -x], 1)


@given(height=sizes, width=sizes, batch=st.integers(1, 2))
@settings(deadline=None, max_examples=40)
def test_generator_takes_any_size(height: int, width: int, batch: int) -> None:
    network = PadToMultiple(ResNetGenerator(1, 3, filters=2, blocks=1))
    output = network(torch.randn(batch, 1, height, width))
    assert output.shape == (batch, 3, height, width)
    assert torch.isfinite(output).all()


@given(height=sizes, width=sizes, multiple=st.integers(1, 16))
@settings(deadline=None)
def test_pads_to_the_next_multiple_by_repeating_the_edge(height: int, width: int, multiple: int) -> None:
    recorder, x = Recorder(), torch.randn(1, 1, height, width)
    output = PadToMultiple(recorder, multiple)(x)
    torch.testing.assert_close(output, torch.cat([x, -x], 1), rtol=0, atol=0)
    for size, padded in zip((height, width), recorder.given.shape[-2:], strict=True):
        smallest = max(2 * multiple, size)
        assert padded % multiple == 0
        assert smallest <= padded < smallest + multiple
    rows = torch.arange(recorder.given.shape[-2]).clamp(max=height - 1)
    columns = torch.arange(recorder.given.shape[-1]).clamp(max=width - 1)
    assert torch.equal(recorder.given, x[..., rows, :][..., columns])


def test_does_nothing_where_nothing_is_missing() -> None:
    network, x = ResNetGenerator(1, 3, filters=2, blocks=1), torch.randn(2, 1, 16, 8)
    assert torch.equal(PadToMultiple(network)(x), network(x))
