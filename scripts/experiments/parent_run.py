"""The MLflow run that all cells of a grid are children of."""

import json
import time
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from monai.utils import path_to_uri

from scripts.errors import InputError
from scripts.experiments.grid import Grid
from scripts.files import write_json

EXPERIMENT = "experiments"


def default_tracking_uri(output_dir: Path) -> str:
    return f"sqlite:///{output_dir.resolve() / 'mlflow.db'}"


def parent_run_id(grid: Grid, output_dir: Path, tracking_uri: str) -> str:
    """The id of the parent run of ``grid``, opened at the first call and remembered in ``output_dir``.

    Raises:
        InputError: if MLflow does not answer.
    """
    record = output_dir / grid.name / "parent_run.json"
    if record.is_file():
        known = json.loads(record.read_text(encoding="utf-8"))
        if known["tracking_uri"] == tracking_uri:
            return known["run_id"]
    try:
        client = mlflow.MlflowClient(tracking_uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        location = path_to_uri(output_dir.resolve() / "mlruns") if tracking_uri.startswith("sqlite:") else None
        experiment_id = (
            experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT, artifact_location=location)
        )
        run = client.create_run(experiment_id, run_name=f"{grid.name} {time.strftime('%Y-%m-%d %H:%M')}")
        client.log_param(run.info.run_id, "description", grid.description)
        client.log_dict(run.info.run_id, {"cells": [cell.identity for cell in grid.cells()]}, "grid.json")
    except MlflowException as error:
        raise InputError(
            f"MLflow at {tracking_uri} does not answer ({error}): start it, or run the grid with --no_mlflow."
        ) from error
    write_json(record, {"run_id": run.info.run_id, "tracking_uri": tracking_uri})
    return run.info.run_id


def close_parent_run(run_id: str, tracking_uri: str, failed: int) -> None:
    """Say in MLflow how the grid ended."""
    mlflow.MlflowClient(tracking_uri).set_terminated(run_id, "FAILED" if failed else "FINISHED")
