"""The two losses of a step, compiled: the same numbers, and no new program at every step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow
from torch import Tensor, nn

from scripts.errors import InputError, input_error_in
from scripts.objectives.adversarial import AdversarialObjective
from scripts.training.losses import StepLosses

CLASSES = 3
CPU = torch.device("cpu")


def objective() -> AdversarialObjective:
    torch.manual_seed(0)
    segmentor, discriminator = nn.Conv2d(1, CLASSES, 3, padding=1), nn.Conv2d(CLASSES, 1, 1)
    return AdversarialObjective(segmentor, discriminator, CLASSES, warm_up=0.25)


@pytest.fixture
def batch() -> dict[str, Any]:
    random = torch.Generator().manual_seed(0)
    images = {name: torch.randn(2, 1, 8, 8, generator=random) for name in ("image", "unlabeled_image")}
    return images | {"label": torch.randint(CLASSES, (2, 8, 8), generator=random)}


def losses(step: StepLosses, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """Both, with gradients of the generators'."""
    loss, terms, translated = step.generators(batch)
    loss.backward()
    translated = {name: tensor.detach() for name, tensor in translated.items()}
    judged, more = step.discriminators(batch, translated, step.objective.fakes(translated))
    return loss + judged, {**terms, **more}


def test_compiled_losses_are_the_eager_ones_by_one_program_for_every_phase_of_the_schedule(
    batch: dict, programs: list[torch.fx.GraphModule]
) -> None:
    """Two for the generators, before and after the warm-up, and as many for the discriminators, whose batch differs."""
    compiled, eager = StepLosses(objective(), "counting", CPU), StepLosses(objective(), False, CPU)
    for progress in (0.0, 0.1, 0.2, 0.3, 0.5, 0.99):
        scheduled = batch | eager.objective.schedule(progress)
        (loss, terms), (expected, others) = losses(compiled, scheduled), losses(eager, scheduled)
        torch.testing.assert_close(loss, expected)
        assert terms.keys() == others.keys()
        torch.testing.assert_close(terms, others)
    gradients = [[p.grad for p in step.objective.generators.parameters()] for step in (compiled, eager)]
    torch.testing.assert_close(*gradients)
    assert len(programs) <= 4


@pytest.mark.parametrize(
    ("given", "compiled", "layout"),
    [("true", "inductor", torch.channels_last), ("false", None, torch.contiguous_format), ("eager", "eager", None)],
)
def test_options_are_read_as_the_command_line_gives_them(
    make_training: Callable[..., ConfigWorkflow],
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    compiled: str,
    layout: Any,
) -> None:
    backends: list[str] = []
    monkeypatch.setattr(torch, "compile", lambda function, backend, **_: backends.append(backend) or function)
    options = {"compile": given} | ({} if layout is None else {"channels_last": given})
    trainer = make_training(**options).trainer
    assert set(backends) == ({compiled} if compiled else set())
    assert trainer.layout == (layout or torch.contiguous_format)


def test_cuda_graphs_do_not_go_with_accumulation(
    make_training: Callable[..., ConfigWorkflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    made = StepLosses.__init__

    def with_graphs(self: StepLosses, *arguments: Any) -> None:
        made(self, *arguments)
        self.graphs = True

    monkeypatch.setattr(StepLosses, "__init__", with_graphs)
    with pytest.raises(Exception, match="train") as raised:  # MONAI wraps it
        _ = make_training(accumulation_steps=2).trainer
    assert "give accumulation_steps 1" in str(input_error_in(raised.value))


def test_weights_keep_their_names() -> None:
    compiled, eager = objective(), objective()
    StepLosses(compiled, "eager", CPU)
    assert compiled.generators.state_dict().keys() == eager.generators.state_dict().keys()


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(InputError, match=r"compile must be true, false or one of .*, got 'fast'"):
        StepLosses(objective(), "fast", CPU)
