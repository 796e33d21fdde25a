"""Runs in MLflow, without the run depending on MLflow.

MONAI's ``MLFlowHandler`` writes each value by itself and lets a failing server end the training; this one collects
values, writes them in batches, and keeps them for later while the server is away.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ignite.engine import Engine, Events
from monai.utils import path_to_uri

from scripts.errors import InputError
from scripts.training.output import scalars
from scripts.training.trainer import AlternatingTrainer

try:
    import mlflow
    from mlflow.entities import Metric, Param
    from mlflow.exceptions import MlflowException
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
except ImportError as error:
    raise InputError("MLflow is not installed: pip install mlflow, or run with --mlflow false.") from error

logger = logging.getLogger(__name__)
# A server that is away must not hold up training: by default MLflow retries for minutes.
REQUEST_DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
RETRY_SECONDS = 60
LARGEST_BATCH = 1000  # metrics in one request, MLflow's own limit
LARGEST_PARAM = 500  # characters


class MLflowTracker:
    """One MLflow run: every loss term, learning rates, validation metrics, settings, and artifacts at the end.

    A failing or absent server leads to a warning; values are kept and sent when it is back.

    Args:
        tracking_uri: ``sqlite:///...`` or a server's address.
        experiment_name, run_name: as MLflow shows them; a resumed run goes on under its id.
        settings: logged as parameters, nested names joined by dots.
        artifacts: files and folders to store at the end, those that exist then.
        evaluator: whose metrics are logged after validation, as ``val_<name>``.
        log_interval: iterations between logged losses.
        parent_run_id: of the run that this one is part of, as a cell of a grid is.
    """

    def __init__(
        self,
        tracking_uri: str,
        experiment_name: str,
        run_name: str,
        settings: Mapping[str, Any],
        artifacts: Sequence[str | Path] = (),
        evaluator: Engine | None = None,
        log_interval: int = 10,
        parent_run_id: str | None = None,
    ) -> None:
        for name, value in REQUEST_DEFAULTS.items():
            os.environ.setdefault(name, value)
        self.tracking_uri = tracking_uri
        self.experiment_name = experiment_name
        self.run_name = run_name
        self.settings = settings
        self.artifacts = [Path(path) for path in artifacts]
        self.evaluator = evaluator
        self.log_interval = log_interval
        self.tags = {MLFLOW_PARENT_RUN_ID: parent_run_id} if parent_run_id else {}
        self.run_id: str | None = None
        self._params: list[Param] = []
        self._pending: list[Metric] = []
        self._retry_at = 0.0
        self._warned = False

    def attach(self, engine: AlternatingTrainer) -> None:
        engine.stateful["tracker"] = self
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.log_interval), self._log_iteration)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._log_epoch)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.COMPLETED, self._log_validation, engine)

    def state_dict(self) -> dict:
        return {"run_id": self.run_id}

    def load_state_dict(self, state: dict) -> None:
        self.run_id = state.get("run_id")

    def _start(self, engine: AlternatingTrainer) -> None:
        engine.on_exit.push(self._close)
        self._attempt(self._open)

    def _open(self) -> str:
        """Create the run, or reopen the one that a resumed training belongs to; its id."""
        self.client = mlflow.MlflowClient(self.tracking_uri)
        if self.run_id is not None and self._reopen(self.run_id):
            return self.run_id
        experiment = self.client.get_experiment_by_name(self.experiment_name)
        if experiment is None:
            location = None
            if self.tracking_uri.startswith("sqlite:///"):
                location = path_to_uri(Path(unquote(self.tracking_uri.removeprefix("sqlite:///"))).parent / "mlruns")
            experiment_id = self.client.create_experiment(self.experiment_name, artifact_location=location)
        else:
            experiment_id = experiment.experiment_id
        self.run_id = self.client.create_run(experiment_id, run_name=self.run_name, tags=self.tags).info.run_id
        self._params = [Param(name, str(value)[:LARGEST_PARAM]) for name, value in _flat(self.settings)]
        return self.run_id

    def _reopen(self, run_id: str) -> bool:
        try:
            self.client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            logger.warning("MLflow at %s no longer knows run %s: a new one begins.", self.tracking_uri, run_id)
            return False
        return True

    def _log_iteration(self, engine: AlternatingTrainer) -> None:
        self._log(scalars(engine.state.output), engine.state.iteration)
        rates = {f"lr_{side}": o.param_groups[0]["lr"] for side, o in engine.optimizers.items()}
        self._log(rates, engine.state.iteration)
        self._attempt(self._flush)

    def _log_epoch(self, engine: AlternatingTrainer) -> None:
        means = {f"epoch_{name}": value for name, value in engine.state.metrics.items()}
        self._log(means | {"epoch": engine.state.epoch}, engine.state.iteration)
        self._attempt(self._flush)

    def _log_validation(self, evaluator: Engine, trainer: Engine) -> None:
        self._log({f"val_{name}": value for name, value in evaluator.state.metrics.items()}, trainer.state.iteration)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        self._pending += [Metric(name, float(value), now, step) for name, value in values.items()]

    def _flush(self) -> str:
        """Send what is pending; the id of the run."""
        run_id = self.run_id or self._open()
        if self._params:
            self.client.log_batch(run_id, params=self._params)
            self._params = []
        while self._pending:
            batch = self._pending[:LARGEST_BATCH]
            self.client.log_batch(run_id, metrics=batch)
            del self._pending[: len(batch)]
        return run_id

    def _close(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._retry_at = 0.0
        asked_to_stop = isinstance(error, SystemExit | KeyboardInterrupt)
        status = "FINISHED" if error is None else "KILLED" if asked_to_stop else "FAILED"

        def finish() -> None:
            run_id = self._flush()
            for path in self.artifacts:
                if path.is_dir():
                    self.client.log_artifacts(run_id, str(path), path.name)
                elif path.is_file():
                    self.client.log_artifact(run_id, str(path))
            self.client.set_terminated(run_id, status)

        if not self._attempt(finish):
            logger.warning("%d values and the artifacts of this run did not reach MLflow.", len(self._pending))

    def _attempt(self, action: Callable[[], object]) -> bool:
        """Do something with MLflow; a failure is a warning, and the next attempt waits a while."""
        if time.monotonic() < self._retry_at:
            return False
        try:
            action()
        except Exception as error:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            if not self._warned:
                logger.warning(
                    "MLflow at %s does not answer; training goes on, values are kept: %s", self.tracking_uri, error
                )
            self._warned = True
            return False
        self._retry_at, self._warned = 0.0, False
        return True


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
