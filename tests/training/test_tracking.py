"""MLflow holds what a run was, and a run does not need MLflow."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from ignite.engine import Events
from mlflow.entities import Run
from monai.bundle import ConfigWorkflow
from running import ROOT, bundle_command, command_environment, training_arguments

TERMS = {
    "segmentation",
    "image_reconstruction",
    "mask_cycle",
    "image_cycle",
    "mask_adversarial",
    "image_adversarial",
    "mask_discriminator",
    "image_discriminator",
}
ARTIFACTS = {"run.json", "config.json", "data_list.json", "environment.json", "model.pt", "model.json", "panels"}


def runs(uri: str) -> tuple[mlflow.MlflowClient, list[Run]]:
    client = mlflow.MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client, list(client.search_runs(experiments))


def database(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def check_run(client: mlflow.MlflowClient, run: Run) -> None:
    """Every term, learning rates, validation metrics, settings and artifacts of a finished run."""
    metrics = run.data.metrics
    assert metrics.keys() >= TERMS | {f"epoch_{term}" for term in TERMS} | {"loss", "lr_generators"}
    assert metrics.keys() >= {"val_foreground_miou", "val_miou", "val_mean_dice", "val_iou_background"}
    assert run.info.status == "FINISHED"
    assert run.data.params["segmentor.filters"] == "2"
    assert {artifact.path for artifact in client.list_artifacts(run.info.run_id)} >= ARTIFACTS


def test_a_run_is_tracked_in_its_folder_by_default(finished_run: Path) -> None:
    client, (run,) = runs(database(finished_run))
    check_run(client, run)
    assert run.info.run_name == "run"
    stdout = (finished_run / "stdout.txt").read_text(encoding="utf-8")
    assert f"mlflow ui --backend-store-uri {database(finished_run)}" in stdout
    assert (finished_run / "mlruns").is_dir(), "artifacts lie beside the database"


def test_monais_tracking_option_makes_one_run_with_all_terms(tmp_path: Path, phantom_dir: Path) -> None:
    result = bundle_command("training", folder=tmp_path, dataset_dir=phantom_dir, tracking="mlflow")
    assert result.returncode == 0, result.stderr
    client, (run,) = runs(database(tmp_path))
    check_run(client, run)


def test_without_mlflow_installed(tmp_path: Path, phantom_dir: Path) -> None:
    """A stand-in that cannot be imported takes MLflow's place."""
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "mlflow.py").write_text("raise ImportError('no MLflow here')\n")
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); sys.argv[0] = 'monai.bundle';"
        "import runpy; runpy.run_module('monai.bundle', run_name='__main__')"
    )

    def run(folder: Path, flag: str) -> subprocess.CompletedProcess:
        arguments = training_arguments(folder, phantom_dir, mlflow=flag, max_epochs=1)
        command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "absent"), "run", "training"]
        command += ["--config_file", "configs/train.json", *arguments]
        return subprocess.run(command, cwd=ROOT, env=command_environment(), capture_output=True, text=True)

    off = run(tmp_path / "off", "false")
    assert off.returncode == 0, off.stderr
    assert (tmp_path / "off" / "models" / "model.pt").is_file()
    assert not (tmp_path / "off" / "mlflow.db").exists()
    on = run(tmp_path / "on", "true")
    assert on.returncode != 0
    assert "Error: MLflow is not installed: pip install mlflow, or run with --mlflow false." in on.stderr
    assert "Traceback" not in on.stderr


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """An MLflow server on the loopback: its address and process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = tmp_path / "server"
    store.mkdir()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{store / 'db'}", "--artifacts-destination", str(store / "artifacts")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 240
    while not answers(address):
        assert process.poll() is None, "the MLflow server ended"
        assert time.monotonic() < deadline, "the MLflow server does not answer"
        time.sleep(0.2)
    yield address, process
    stop(process)


def answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(f"{address}/health", timeout=1).status == 200
    except OSError:
        return False


def stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)


def test_a_real_server_and_its_death(
    server: tuple[str, subprocess.Popen],
    make_training: Callable[..., ConfigWorkflow],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    address, process = server
    make_training(folder=tmp_path / "alive", mlflow=True, tracking_uri=address).run()
    client, (run,) = runs(address)
    check_run(client, run)

    # The server dies after the first epoch of a second run; training goes on to its end.
    workflow = make_training(folder=tmp_path / "dies", mlflow=True, tracking_uri=address, log_interval=1)
    workflow.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda: stop(process))
    workflow.run()
    assert (tmp_path / "dies" / "models" / "model.pt").is_file()
    assert workflow.trainer.state.epoch == 2
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any(f"MLflow at {address} does not answer; training goes on" in warning for warning in warnings)
    assert any("did not reach MLflow" in warning for warning in warnings)


def test_a_server_that_is_down_from_the_start(
    make_training: Callable[..., ConfigWorkflow], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workflow = make_training(mlflow=True, tracking_uri="http://127.0.0.1:9", max_epochs=1)
    started = time.monotonic()
    workflow.run()
    assert time.monotonic() - started < 60
    assert (tmp_path / "run" / "models" / "model.pt").is_file()
    assert "does not answer; training goes on" in caplog.text


def test_artifacts_lie_beside_the_database_whatever_the_folder_is_called(
    make_training: Callable[..., ConfigWorkflow], tmp_path: Path
) -> None:
    folder = tmp_path / "a b ä"
    make_training(folder=folder, mlflow=True, max_epochs=1).run()
    assert list((folder / "mlruns").rglob("model.pt"))
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, "cache"}


def test_a_resumed_run_whose_record_is_gone_gets_another(
    make_training: Callable[..., ConfigWorkflow], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workflow = make_training(mlflow=True)
    workflow.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), workflow.trainer.terminate)
    workflow.run()
    elsewhere = f"sqlite:///{tmp_path / 'other.db'}"
    make_training(mlflow=True, resume=True, tracking_uri=elsewhere).run()
    assert "a new one begins" in caplog.text
    _, (run,) = runs(elsewhere)
    assert run.info.status == "FINISHED"
    assert "val_miou" in run.data.metrics


def test_values_kept_while_the_server_is_away_arrive_later(
    make_training: Callable[..., ConfigWorkflow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = make_training(mlflow=True, log_interval=1)
    trainer = workflow.trainer
    tracker: Any = trainer.stateful["tracker"]

    def away(*args: object, **kwargs: object) -> None:
        raise ConnectionError("away")

    def leave() -> None:
        monkeypatch.setattr(tracker.client, "log_batch", away)

    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), leave)
    trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), monkeypatch.undo)
    workflow.run()
    client, (run,) = runs(database(tmp_path / "run"))
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [metric.step for metric in history] == list(range(1, trainer.state.iteration + 1))
