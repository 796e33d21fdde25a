"""How long a grid will take, from one measured step of each kind of cell."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from scripts.experiments.job import CellJob, config_files, overrides

WARM_UP = 1


def measure(job: CellJob) -> tuple[int, float]:
    """Read the data of ``job``, make one step to warm up and time the next.

    Returns:
        The number of updates of the whole run, and the seconds of one.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = overrides(job) | {
            "output_dir": folder,
            "ckpt_dir": str(Path(folder) / "models"),
            "mlflow": False,
            "evaluate": False,
            "train#handlers": [],
        }
        workflow = ConfigWorkflow(config_files(job.spec), workflow_type="train", logging_file=False, **settings)
        workflow.initialize()
        trainer: Any = workflow.trainer
        began: list[float] = []

        def look() -> None:
            if trainer.state.device.type == "cuda":
                torch.cuda.synchronize(trainer.state.device)
            began.append(perf_counter())
            if len(began) > WARM_UP + 1:
                trainer.terminate()

        trainer.add_event_handler(Events.ITERATION_STARTED, look)
        updates = trainer.state.epoch_length * trainer.state.max_epochs
        trainer.run()
    return updates, began[-1] - began[-2]


def estimate(jobs: Sequence[CellJob]) -> dict[str, tuple[int, float]]:
    """Updates and seconds a step of every cell; each data set and arm is measured once, at its first fraction."""
    measured: dict[tuple[str, str], tuple[int, float]] = {}
    for job in jobs:
        kind = (job.spec.dataset, job.spec.arm)
        if kind not in measured:
            measured[kind] = measure(job)
    return {job.spec.name: measured[job.spec.dataset, job.spec.arm] for job in jobs}
