"""Number formats of a training or inference step."""

import warnings
from contextlib import AbstractContextManager

import torch

from scripts.errors import InputError

DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Precision:
    """Autocast and gradient scaling for one device.

    Args:
        name: "float32", "bfloat16", "float16", or "auto": bfloat16 on CUDA where the device has it, else float32.
        device: where the step runs.

    Warns:
        UserWarning: bfloat16 on a processor that has none, so that it is emulated, many times slower than float32.

    Raises:
        InputError: for another name.
    """

    def __init__(self, name: str, device: torch.device | str) -> None:
        self.device_type = torch.device(device).type
        if name == "auto":
            fast = self.device_type == "cuda" and torch.cuda.is_bf16_supported()
            name = "bfloat16" if fast else "float32"
        if name not in DTYPES:
            raise InputError(f"precision must be 'auto' or one of {sorted(DTYPES)}, got {name!r}.")
        if name == "bfloat16" and self.device_type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2":
            warnings.warn("bfloat16 is emulated on this processor and slow: give --precision float32.", stacklevel=2)
        self.name = name

    def autocast(self) -> AbstractContextManager:
        dtype = DTYPES[self.name]
        return torch.autocast(self.device_type, dtype=dtype, enabled=dtype is not None)

    def scaler(self) -> torch.amp.GradScaler:
        """A gradient scaler, which does nothing unless the precision is float16."""
        return torch.amp.GradScaler(self.device_type, enabled=self.name == "float16")
