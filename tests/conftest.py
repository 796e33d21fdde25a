"""Fixtures that many tests share."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from monai.bundle import ConfigWorkflow

from scripts.data.phantom import write_phantom

ROOT = Path(__file__).resolve().parents[1]
TINY: dict[str, Any] = {
    "labeled_fraction": 0.4,
    "spacing": [6, 6],
    "size": [32, 32],
    "filters": 2,
    "discriminator_filters": 4,
    "max_epochs": 2,
    "network_def#blocks": 1,
    "image_generator_def#blocks": 1,
    "device": "$torch.device('cpu')",
}

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def phantom_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten patients of the phantom in the ACDC layout, of the smallest size."""
    return write_phantom(tmp_path_factory.mktemp("data") / "phantom", patients=10, seed=0, smallest=True)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, where there is one."""
    if "BUNDLE_REAL_DATA" not in os.environ:
        pytest.skip("BUNDLE_REAL_DATA is not set: no real data to test on")
    return Path(os.environ["BUNDLE_REAL_DATA"])


@pytest.fixture()
def make_training(phantom_dir: Path, tmp_path: Path) -> Callable[..., ConfigWorkflow]:
    """Make (not run) the training workflow of ``train.json`` at a tiny size, on the phantom, without MLflow."""

    def make(**overrides: Any) -> ConfigWorkflow:
        folder = overrides.pop("folder", tmp_path / "run")
        settings = TINY | {
            "bundle_root": str(ROOT),
            "dataset_dir": str(phantom_dir),
            "output_dir": str(folder),
            "ckpt_dir": str(Path(folder) / "models"),
            "mlflow": False,
        }
        settings |= {name.replace("__", "#"): value for name, value in overrides.items()}
        configs = settings.pop("config_file", str(ROOT / "configs" / "train.json"))
        workflow = ConfigWorkflow(configs, workflow_type="train", logging_file=False, **settings)
        workflow.initialize()
        return workflow

    return make


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, phantom_dir: Path) -> Path:
    """The folder of a finished tiny training, made by the bundle's own command, tracked in its SQLite file."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    result = bundle_command("training", folder=folder, dataset_dir=phantom_dir)
    assert result.returncode == 0, result.stderr
    (folder / "stdout.txt").write_text(result.stdout)
    return folder


def training_arguments(folder: Path, dataset_dir: Path | None, **settings: Any) -> list[str]:
    """The command line of a tiny training."""
    settings = TINY | {"output_dir": str(folder), "ckpt_dir": str(folder / "models")} | settings
    if dataset_dir is not None:
        settings["dataset_dir"] = str(dataset_dir)
    return [part for name, value in settings.items() for part in (f"--{name.replace('__', '#')}", str(value))]


def bundle_command(
    run_id: str,
    *,
    folder: Path,
    dataset_dir: Path | None = None,
    cwd: Path = ROOT,
    config: str = "configs/train.json",
    **settings: Any,
) -> subprocess.CompletedProcess:
    """Run ``python -m monai.bundle run`` in a process of its own, as a user does."""
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", run_id, "--config_file", config]
    command += training_arguments(folder, dataset_dir, **settings)
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, env=command_environment())


def command_environment(**variables: str) -> dict[str, str]:
    """The environment of a user's shell: no path to this checkout."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return clean | {"OMP_NUM_THREADS": "1"} | variables
