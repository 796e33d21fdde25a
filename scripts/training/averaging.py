"""The moving average of a network's weights: the teacher, and what is validated and kept."""

from copy import deepcopy

import torch
from ignite.engine import Events
from torch import nn

from scripts.errors import InputError
from scripts.training.trainer import AlternatingTrainer


def average_of(network: nn.Module) -> nn.Module:
    """A copy of ``network`` that is not trained, in evaluation mode, for ``MovingAverage`` to keep."""
    return deepcopy(network).requires_grad_(False).eval()


class MovingAverage:
    """Move the weights of ``average`` towards those of ``network`` after each update (Tarvainen and Valpola 2017).

    After the update in iteration n (batches so far: more than updates, where gradients are accumulated) the average keeps the
    share min(decay, n / (n + 9)) of itself, so that the random weights of the start are soon forgotten. Buffers are copied. It
    is part of the training's saved state.

    Args:
        network: what is trained.
        average: from ``average_of(network)``.
        decay: in [0, 1).

    Raises:
        InputError: another decay.
    """

    def __init__(self, network: nn.Module, average: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise InputError(f"ema_decay must lie in [0, 1), or be null for none, got {decay!r}.")
        self.network = network
        self.average = average
        self.decay = decay

    def attach(self, engine: AlternatingTrainer) -> None:
        engine.stateful["moving_average"] = self
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._update)

    @torch.no_grad()
    def _update(self, engine: AlternatingTrainer) -> None:
        if engine.accumulating:
            return
        updates = engine.state.iteration
        kept = min(self.decay, updates / (updates + 9))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - kept)
        for buffer, source in zip(self.average.buffers(), self.network.buffers(), strict=True):
            buffer.copy_(source)

    def state_dict(self) -> dict:
        return self.average.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.average.load_state_dict(state)
