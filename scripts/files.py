"""Files that are there whole or not at all."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

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
        with open(partial, "r+b") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        # torch.save covers the reason with an error of its own.
        reason = error.__context__ if isinstance(error.__context__, OSError) else error
        raise InputError(
            f"{path} could not be written: {reason}. What was there before is intact; free some space or give another "
            "folder, then start again (a training run that has saved its state goes on with --resume true)."
        ) from error
    finally:
        with suppress(OSError):  # no partial, or no such folder
            partial.unlink()
    return path


def read_json(path: str | Path) -> Any:
    """What ``write_json`` wrote; for files of our own, whose absence or damage is a fault."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_json(path: str | Path, content: Any) -> Path:
    return write_atomically(
        path, lambda p: p.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
    )


def save_tensors(path: str | Path, content: Any) -> Path:
    """Save tensors and plain containers, to be read with ``weights_only=True``."""
    import torch  # here alone, so that commands that write no tensors start at once

    def write(partial: Path) -> None:
        with partial.open(
            "wb"
        ) as file:  # torch.save says what is wrong with the disk only if it writes to an open file
            torch.save(content, file)

    return write_atomically(path, write)
