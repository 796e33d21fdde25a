"""What a run says on a terminal and elsewhere."""

from collections.abc import Callable
from io import StringIO

import pytest
from monai.bundle import ConfigWorkflow
from rich.console import Console

from scripts.training.console import ProgressReport, say_where


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_on_a_terminal_and_lines_elsewhere(
    terminal: bool, make_training: Callable[..., ConfigWorkflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.training.console.SECONDS_BETWEEN_LOSSES", 0.0)
    monkeypatch.setattr("scripts.training.console.SECONDS_BETWEEN_LINES", 0.0)
    written = StringIO()
    trainer = make_training(max_epochs=1).trainer
    ProgressReport(console=Console(file=written, force_terminal=terminal, width=200, highlight=False)).attach(trainer)
    trainer.run()
    text = written.getvalue()
    assert "epoch 1/1" in text
    assert "epoch 1/1 mean  loss" in text
    assert ("generators" in text and "discriminators" in text and "━" in text) == terminal
    assert ("remaining" in text and "mask_adversarial" in text.split("mean")[0]) != terminal


def test_where_things_are() -> None:
    written = StringIO()
    say_where({"Best model": "models/model.pt"}, Console(file=written))
    assert written.getvalue() == "Best model: models/model.pt\n"
