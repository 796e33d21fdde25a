"""Fixtures that many tests share."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from monai.bundle import ConfigWorkflow
from running import ROOT, TINY, bundle_command

from scripts.data.dicom_phantom import write_dicom_phantom
from scripts.data.phantom import write_phantom

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def phantom_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten patients of the phantom in the ACDC layout, of the smallest size."""
    return write_phantom(tmp_path_factory.mktemp("data") / "phantom", patients=10, seed=0, smallest=True)


@pytest.fixture(scope="session")
def compiled_programs() -> list[torch.fx.GraphModule]:
    """What ``torch.compile`` with the backend "counting", which runs it as it is, has made; a backend cannot be registered twice."""
    made: list[torch.fx.GraphModule] = []

    def counting(program: torch.fx.GraphModule, inputs: list) -> Any:
        made.append(program)
        return program.forward

    torch._dynamo.register_backend(counting, name="counting")
    return made


@pytest.fixture
def programs(compiled_programs: list[torch.fx.GraphModule]) -> list[torch.fx.GraphModule]:
    """Those of this test's functions."""
    torch.compiler.reset()
    compiled_programs.clear()
    return compiled_programs


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, where there is one."""
    if "BUNDLE_REAL_DATA" not in os.environ:
        message = "BUNDLE_REAL_DATA is not set: no real data to test on"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return Path(os.environ["BUNDLE_REAL_DATA"])


@pytest.fixture
def make_training(phantom_dir: Path, tmp_path: Path) -> Callable[..., ConfigWorkflow]:
    """Make (not run) the training workflow of ``train.json`` at a tiny size, on the phantom, without MLflow."""

    def make(**overrides: Any) -> ConfigWorkflow:
        folder = overrides.pop("folder", tmp_path / "run")
        settings = TINY | {
            "bundle_root": str(ROOT),
            "dataset_dir": str(phantom_dir),
            "output_dir": str(folder),
            "ckpt_dir": str(Path(folder) / "models"),
            "cache_dir": str(tmp_path / "cache"),
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


@pytest.fixture(scope="session")
def dicom_phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dicom_phantom(tmp_path_factory.mktemp("dicom") / "study", smallest=True)


@pytest.fixture
def dicom_study(dicom_phantom: Path, tmp_path: Path) -> Path:
    """A copy of the phantom's study, to change."""
    return Path(shutil.copytree(dicom_phantom, tmp_path / "study"))
