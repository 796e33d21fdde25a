"""What a run was: written into its folder at the start, so that the folder alone is enough to evaluate or repeat it."""

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from scripts.configuration import make_folder
from scripts.files import write_json

PACKAGES = ("torch", "monai", "pytorch-ignite", "numpy", "nibabel", "SimpleITK", "mlflow")


class RunRecord:
    """Write ``run.json``, ``config.json``, ``data_list.json`` and ``environment.json`` into ``output_dir``.

    Args:
        output_dir: the run's folder.
        model: where the best weights will be, recorded relative to the folder, so that both can move together.
        config: the executed config.
        data_list: as used.
        dataset_dir: what the list's paths are relative to.
        facts: further entries of ``run.json`` (version, seed).

    Raises:
        InputError: if the folder cannot be written.
    """

    def __init__(
        self,
        output_dir: str | Path,
        model: str | Path,
        config: Mapping[str, Any],
        data_list: Mapping[str, Any],
        dataset_dir: str | Path,
        **facts: Any,
    ) -> None:
        self.folder = make_folder(output_dir, "output_dir")
        make_folder(Path(model).parent, "ckpt_dir")
        run = {
            "model": os.path.relpath(Path(model).resolve(), self.folder),
            "data_list": "data_list.json",
            "config": "config.json",
            "environment": "environment.json",
            "dataset_dir": str(Path(dataset_dir).resolve()),
        }
        self.contents = {
            "run.json": run | facts,
            "config.json": config,
            "data_list.json": data_list,
            "environment.json": environment(),
        }

    @property
    def files(self) -> list[Path]:
        return [self.folder / name for name in self.contents]

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.write)

    def write(self) -> None:
        for name, content in self.contents.items():
            write_json(self.folder / name, content)


def environment() -> dict[str, Any]:
    """Versions of what a run depends on, the devices, and the commit of the bundle if it is a git checkout."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {package: _version(package) for package in PACKAGES},
        "cuda": torch.version.cuda,
        "cpu": cpu_name(),
        "devices": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "threads": torch.get_num_threads(),
        "commit": _commit(),
    }


def cpu_name() -> str:
    """What the processor calls itself."""
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
