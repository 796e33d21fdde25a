"""The validation metrics of every epoch, as a file that outlives the run."""

from math import isfinite
from pathlib import Path
from time import perf_counter

from ignite.engine import Engine, Events
from monai.engines import Evaluator

from scripts.files import write_json
from scripts.training.trainer import AlternatingTrainer


class History:
    """Write ``path``: a row each validated epoch with ``epoch``, ``update`` (steps so far), ``seconds`` of training and
    validation so far, and the evaluator's metrics.

    Attach before the state is saved. A resumed run goes on with the rows and seconds of its state.

    Args:
        path: a JSON file, rewritten whole at every validation.
        evaluator: whose metrics are kept.
    """

    def __init__(self, path: str | Path, evaluator: Evaluator) -> None:
        self.path = Path(path)
        self.evaluator = evaluator
        self.rows: list[dict[str, float | None]] = []
        self._before = 0.0
        self._began: float | None = None

    @property
    def seconds(self) -> float:
        """Of training and validation so far, without the time between a stop and its resumption."""
        return self._before + (0.0 if self._began is None else perf_counter() - self._began)

    def attach(self, engine: AlternatingTrainer) -> None:
        engine.stateful["history"] = self
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.COMPLETED, self._pause)
        self.evaluator.add_event_handler(Events.COMPLETED, self._add, engine)

    def state_dict(self) -> dict:
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state: dict) -> None:
        self.rows = list(state.get("rows", []))
        self._before, self._began = float(state.get("seconds", 0)), perf_counter()

    def _start(self) -> None:
        self._began = perf_counter()

    def _pause(self) -> None:
        self._before, self._began = self.seconds, None

    def _add(self, evaluator: Engine, trainer: AlternatingTrainer) -> None:
        # JSON knows no NaN, which is the IoU of a class that never occurs.
        metrics = {name: float(value) if isfinite(value) else None for name, value in evaluator.state.metrics.items()}
        when = {"epoch": trainer.state.epoch, "update": trainer.state.iteration, "seconds": round(self.seconds, 1)}
        self.rows.append(when | metrics)
        write_json(self.path, self.rows)
