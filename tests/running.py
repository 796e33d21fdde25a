"""The bundle's commands at a tiny size, as tests run them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TINY: dict[str, Any] = {
    "labeled_fraction": 0.4,
    "spacing": [6, 6],
    "size": [32, 32],
    "filters": 2,
    "image_generator_filters": 2,
    "image_generator_blocks": 1,
    "discriminator_filters": 4,
    "max_epochs": 2,
    "blocks": 1,
    "evaluate": False,
    "device": "$torch.device('cpu')",
}


def training_arguments(folder: Path, dataset_dir: Path | None, **settings: Any) -> list[str]:
    """The command line of a tiny training."""
    places = {"output_dir": folder, "ckpt_dir": folder / "models", "cache_dir": folder.parent / "cache"}
    settings = TINY | {name: str(place) for name, place in places.items()} | settings
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
