"""Files that are there whole or not at all."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from scripts.errors import InputError


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a temporary neighbour of ``path``, then move it into place.

    Raises:
        InputError: if the disk is full or the folder cannot be written; what stood at ``path`` stays.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        raise InputError(
            f"{path} could not be written: {error}. What was there before is intact; free some space or give another "
            "folder, then resume with --resume true."
        ) from error
    return path


def write_json(path: str | Path, content: Any) -> Path:
    return write_atomically(path, lambda p: p.write_text(json.dumps(content, indent=1, default=str) + "\n"))


def save_tensors(path: str | Path, content: Any) -> Path:
    """Save tensors and plain containers, to be read with ``weights_only=True``."""
    return write_atomically(path, lambda p: torch.save(content, p))
