"""The MLflow run that all cells of a grid are children of."""

import json
import logging
import time
from pathlib import Path

import mlflow
from filelock import FileLock
from mlflow.exceptions import MlflowException
from monai.utils import path_to_uri

from scripts.errors import InputError
from scripts.experiments.grid import Grid
from scripts.files import write_json

logger = logging.getLogger(__name__)
EXPERIMENT = "experiments"


def default_tracking_uri(output_dir: Path) -> str:
    return f"sqlite:///{output_dir.resolve() / 'mlflow.db'}"


def parent_run_id(grid: Grid, output_dir: Path, tracking_uri: str) -> str:
    """The id of the parent run of ``grid``, opened at the first call and remembered in ``output_dir``; runners that start
    together agree on one.

    Raises:
        InputError: if MLflow does not answer.
    """
    record = output_dir / grid.name / "parent_run.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(record.with_suffix(".lock")):
        try:
            client = mlflow.MlflowClient(tracking_uri)
            known = _known(record, client, tracking_uri)
            if known is not None:
                return known
            run_id = _open(client, grid, output_dir, tracking_uri)
        except MlflowException as error:
            raise InputError(
                f"MLflow at {tracking_uri} does not answer ({error}): start it, or run the grid with --no_mlflow."
            ) from error
        write_json(record, {"run_id": run_id, "tracking_uri": tracking_uri})
    return run_id


def _known(record: Path, client: mlflow.MlflowClient, tracking_uri: str) -> str | None:
    """The run that ``record`` names, if it is still there."""
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        if known["tracking_uri"] != tracking_uri:
            return None
        client.update_run(known["run_id"], status="RUNNING")
        return known["run_id"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _open(client: mlflow.MlflowClient, grid: Grid, output_dir: Path, tracking_uri: str) -> str:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    location = path_to_uri(output_dir.resolve() / "mlruns") if tracking_uri.startswith("sqlite:") else None
    experiment_id = (
        experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT, artifact_location=location)
    )
    run = client.create_run(experiment_id, run_name=f"{grid.name} {time.strftime('%Y-%m-%d %H:%M')}")
    client.log_param(run.info.run_id, "description", grid.description)
    client.log_dict(run.info.run_id, {"cells": [cell.identity for cell in grid.cells()]}, "grid.json")
    return run.info.run_id


def close_parent_run(run_id: str, tracking_uri: str, failed: int) -> None:
    """Say in MLflow how the grid ended; a server that is away is a warning."""
    try:
        mlflow.MlflowClient(tracking_uri).set_terminated(run_id, "FAILED" if failed else "FINISHED")
    except MlflowException as error:
        logger.warning("MLflow at %s does not know that the grid has ended: %s", tracking_uri, error)
