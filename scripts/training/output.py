"""Reading what an iteration left in ``engine.state.output``."""

from collections.abc import Mapping
from typing import Any

import torch


def scalars(output: Mapping[str, Any]) -> dict[str, float]:
    """The loss terms among an iteration's output: its scalar tensors, in one copy from the device."""
    terms = {name: value for name, value in output.items() if torch.is_tensor(value) and value.ndim == 0}
    if not terms:
        return {}
    values = torch.stack([value.detach().float() for value in terms.values()]).tolist()
    return dict(zip(terms, values, strict=True))
