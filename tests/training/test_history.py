"""The history of validations: its rows, its clock, and both after a stop."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from scripts.objectives.supervised import SupervisedObjective
from scripts.training.history import History
from scripts.training.state import TrainingState
from scripts.training.trainer import AlternatingTrainer

EPOCH_LENGTH = 2


class Clock:
    """Tells 10 s more at every iteration, and whatever passes between runs."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def tick(self) -> None:
        self.now += 10


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("scripts.training.history.perf_counter", clock)
    return clock


def make_evaluator() -> Engine:
    """Its metrics are 1/100 and 2/100 of how often it was asked, as a float and as a tensor."""
    evaluator = Engine(lambda engine, batch: None)
    evaluator.asked = 0  # type: ignore[attr-defined]

    @evaluator.on(Events.EPOCH_COMPLETED)
    def measure(engine: Engine) -> None:
        engine.asked += 1  # type: ignore[attr-defined]
        engine.state.metrics = {
            "miou": engine.asked / 100,
            "mean_dice": torch.tensor(engine.asked / 50, dtype=torch.float64),
        }  # type: ignore[attr-defined]

    return evaluator


def make_trainer(
    folder: Path, clock: Clock, max_epochs: int, interval: int = 1, resume: bool = False, handlers: tuple[Any, ...] = ()
) -> tuple[AlternatingTrainer, History]:
    """A training of one 1 x 1 convolution, validated every ``interval`` epochs, its state saved."""
    torch.manual_seed(0)
    objective = SupervisedObjective(nn.Conv2d(1, 2, 1))
    evaluator = make_evaluator()
    history = History(folder / "history.json", evaluator)  # type: ignore[arg-type]
    state = TrainingState(folder / "training_state.pt", {}, resume=resume)
    batch = {"image": torch.ones(1, 1, 2, 2), "label": torch.ones(1, 2, 2).long()}
    trainer = AlternatingTrainer(
        objective,
        torch.optim.SGD(objective.generators.parameters(), 0.1),
        None,
        device="cpu",
        max_epochs=max_epochs,
        train_data_loader=[batch] * EPOCH_LENGTH,
        train_handlers=[history, state, *handlers],
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, clock.tick)
    trainer._event_handlers[Events.EPOCH_COMPLETED].insert(
        0, (lambda e: evaluator.run([0]) if e.state.epoch % interval == 0 else None, (trainer,), {})
    )
    return trainer, history


def test_a_row_each_validated_epoch(tmp_path: Path, clock: Clock) -> None:
    trainer, history = make_trainer(tmp_path, clock, max_epochs=4, interval=2)
    trainer.run()
    rows = json.loads((tmp_path / "history.json").read_text(encoding="utf-8"))
    assert rows == [
        {"epoch": 2, "update": 4, "seconds": 40.0, "miou": 0.01, "mean_dice": 0.02},
        {"epoch": 4, "update": 8, "seconds": 80.0, "miou": 0.02, "mean_dice": 0.04},
    ]
    assert history.rows == rows


def test_the_file_is_whole_after_every_validation(tmp_path: Path, clock: Clock) -> None:
    trainer, _ = make_trainer(tmp_path, clock, max_epochs=3)
    lengths: list[int] = []

    def read() -> None:
        lengths.append(len(json.loads((tmp_path / "history.json").read_text(encoding="utf-8"))))

    trainer.add_event_handler(Events.EPOCH_COMPLETED, read)
    trainer.run()
    assert lengths == [1, 2, 3]


def test_metrics_are_kept_as_plain_numbers(tmp_path: Path, clock: Clock) -> None:
    trainer, history = make_trainer(tmp_path, clock, max_epochs=1)
    trainer.run()
    assert {type(value) for value in history.rows[0].values()} == {int, float}


def test_a_resumed_run_goes_on_with_rows_and_seconds(tmp_path: Path, clock: Clock) -> None:
    make_trainer(tmp_path, clock, max_epochs=2)[0].run()
    first = json.loads((tmp_path / "history.json").read_text(encoding="utf-8"))
    clock.now += 86_400  # the night between stop and resumption does not count
    trainer, history = make_trainer(tmp_path, clock, max_epochs=4, resume=True)
    trainer.run()
    rows = json.loads((tmp_path / "history.json").read_text(encoding="utf-8"))
    assert rows[:2] == first
    assert [(row["epoch"], row["update"], row["seconds"]) for row in rows] == [
        (1, 2, 20.0),
        (2, 4, 40.0),
        (3, 6, 60.0),
        (4, 8, 80.0),
    ]
    assert history.seconds == 80.0


def test_a_stop_within_an_epoch_keeps_its_seconds(tmp_path: Path, clock: Clock) -> None:
    """Interrupted at iteration 3 of 8: rows of epoch 1, seconds of all three steps."""
    trainer, _ = make_trainer(tmp_path, clock, max_epochs=4)
    state = next(h for h in _handlers(trainer) if isinstance(h, TrainingState))

    @trainer.on(Events.ITERATION_COMPLETED(once=3))
    def stop(engine: AlternatingTrainer) -> None:
        state.save(engine)
        engine.terminate()
        engine.remove_event_handler(state._save_epoch, Events.EPOCH_COMPLETED)

    trainer.run()
    clock.now += 5_000
    (tmp_path / "history.json").unlink()  # the state alone is enough
    make_trainer(tmp_path, clock, max_epochs=4, resume=True)[0].run()
    rows = json.loads((tmp_path / "history.json").read_text(encoding="utf-8"))
    assert [(row["epoch"], row["update"], row["seconds"]) for row in rows] == [
        (1, 2, 20.0),
        (2, 4, 40.0),
        (3, 6, 60.0),
        (4, 8, 80.0),
    ]


def test_a_state_without_a_history_starts_an_empty_one(tmp_path: Path, clock: Clock) -> None:
    history = History(tmp_path / "history.json", make_evaluator())  # type: ignore[arg-type]
    history.load_state_dict({})
    clock.tick()
    assert history.rows == []
    assert history.seconds == 10.0


def test_its_memory_is_plain_and_not_shared(tmp_path: Path, clock: Clock) -> None:
    trainer, history = make_trainer(tmp_path, clock, max_epochs=1)
    trainer.run()
    saved = torch.load(tmp_path / "training_state.pt", weights_only=True)["handlers"]["history"]
    assert saved == {"rows": history.rows, "seconds": 20.0}
    other = History(tmp_path / "other.json", make_evaluator())  # type: ignore[arg-type]
    other.load_state_dict(saved)
    other.rows.append({})
    assert len(saved["rows"]) == 1


def test_a_further_round_goes_on_with_the_seconds(tmp_path: Path, clock: Clock) -> None:
    trainer, history = make_trainer(tmp_path, clock, max_epochs=1)
    trainer.run()
    clock.now += 5_000
    trainer.state.max_epochs = 2
    trainer.run()
    assert [row["seconds"] for row in history.rows] == [20.0, 40.0]


def _handlers(trainer: AlternatingTrainer) -> set[Any]:
    """The objects whose methods act in the trainer."""
    return {getattr(handler, "__self__", None) for listed in trainer._event_handlers.values() for handler, *_ in listed}
