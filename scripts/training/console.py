"""What a run says while it runs and when it ends."""

import time
from collections.abc import Mapping
from datetime import timedelta

from ignite.engine import Events
from monai.engines import Evaluator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from scripts.training.output import scalars
from scripts.training.trainer import AlternatingTrainer

SECONDS_BETWEEN_LINES = 30.0
SECONDS_BETWEEN_LOSSES = 1.0
MOST_METRICS = 10
"""On one line."""


class ProgressReport:
    """A progress bar on a terminal, plain lines elsewhere; a line an epoch with losses and validation scores.

    Args:
        evaluator: whose metrics are shown after validation.
        console: where to write; None is standard output.
    """

    def __init__(self, evaluator: Evaluator | None = None, console: Console | None = None) -> None:
        self.evaluator = evaluator
        self.console = console or Console(highlight=False)
        self._said_at = 0.0

    def attach(self, engine: AlternatingTrainer) -> None:
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._show_iteration)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._show_epoch)

    def _start(self, engine: AlternatingTrainer) -> None:
        state = engine.state
        self._started_at, self._started_from = time.monotonic(), state.iteration
        total = state.max_epochs * state.epoch_length
        generators = sum(p.numel() for p in engine.objective.generators.parameters())
        self._print(
            f"Training on {state.device}, {engine.precision.name}: {state.max_epochs} epochs of {state.epoch_length} "
            f"iterations, {generators / 1e6:.1f} M generator parameters."
        )
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(
            *columns, TimeRemainingColumn(), TextColumn("{task.fields[losses]}"), console=self.console, transient=True
        )
        self._task = self._progress.add_task("epoch 1", total=total, completed=state.iteration, losses="")
        if self.console.is_terminal:
            engine.on_exit.enter_context(self._progress)

    def _show_iteration(self, engine: AlternatingTrainer) -> None:
        self._progress.update(self._task, completed=engine.state.iteration)
        wait = SECONDS_BETWEEN_LOSSES if self.console.is_terminal else SECONDS_BETWEEN_LINES
        if time.monotonic() - self._said_at < wait:
            return
        self._said_at = time.monotonic()
        terms = scalars(engine.state.output)
        epoch = f"epoch {engine.state.epoch}/{engine.state.max_epochs}"
        if self.console.is_terminal:
            self._progress.update(self._task, description=epoch, losses=_short(engine, terms))
        else:
            total = engine.state.max_epochs * engine.state.epoch_length
            line = f"{epoch}  iteration {engine.state.iteration}/{total}  remaining {self._remaining(engine)}  {_joined(terms)}"
            self._print(line)

    def _show_epoch(self, engine: AlternatingTrainer) -> None:
        line = f"epoch {engine.state.epoch}/{engine.state.max_epochs} mean  {_joined(engine.state.metrics)}"
        evaluator = self.evaluator
        if evaluator is not None and evaluator.state.epoch == engine.state.epoch and evaluator.state.metrics:
            line += f"  | validation  {_joined(_main(evaluator.state.metrics))}"
            if evaluator.state.best_metric_epoch == engine.state.epoch:
                line += "  (best so far)"
        self._print(line)

    def _remaining(self, engine: AlternatingTrainer) -> timedelta:
        done = engine.state.iteration - self._started_from
        left = engine.state.max_epochs * engine.state.epoch_length - engine.state.iteration
        return timedelta(seconds=round((time.monotonic() - self._started_at) / max(done, 1) * left))

    def _print(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, markup=False)


def say_where(where: Mapping[str, str], console: Console | None = None) -> None:
    """Say at the end of a run where things are: name to place or command."""
    for name, place in where.items():
        (console or Console(highlight=False)).print(f"{name}: {place}", soft_wrap=True, markup=False)


def _short(engine: AlternatingTrainer, terms: Mapping[str, float]) -> str:
    """The two sides' losses alone: a progress bar has one line, the epoch's line has every term."""
    sides = {"generators": terms["loss"]}
    if judged := [terms[name] for name in engine.objective.discriminators if name in terms]:
        sides["discriminators"] = sum(judged)
    return _joined(sides)


def _main(metrics: Mapping[str, float]) -> dict[str, float]:
    """All metrics, or, where there are many classes, those that are not of one class."""
    if len(metrics) <= MOST_METRICS:
        return dict(metrics)
    return {name: value for name, value in metrics.items() if not name.startswith("iou_")}


def _joined(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items())
