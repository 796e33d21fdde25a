"""A model describes itself: ``model.pt`` holds weights, ``model.json`` beside it everything needed to use them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scripts.configuration import build
from scripts.data.image_grid import ImageGrid, grid_for
from scripts.data.preprocessing import SliceGrid
from scripts.errors import InputError, root_cause
from scripts.files import save_tensors, write_json
from scripts.metrics import iou_key

NORMALIZATION = "(x - mean) / (max - min) per channel and slice"


@dataclass(frozen=True)
class ModelCard:
    """What ``model.json`` says.

    Args:
        network_def: ``_target_`` and arguments of the segmentor; it returns logits (B, K, H, W).
        class_names: of label values 0 to K - 1. The network may give one class more, void, which nobody reads.
        spacing, size: in-plane grid, mm and pixels; a ``spacing`` of None means photographs, resized to ``size``.
        data_list_sha256: of the run's data list. run_sha256: of all that its result depends on (the fingerprint).
        weights_sha256: of the file of weights, so that the two files are known to belong together.
        trained_on, licence: data set and the licence of models made from it.
        bundle_version: of ``metadata.json``.
        scores: validation metrics of these weights, with the epoch.
        normalization: of the input, in words.
        background: whether class 0 is background.
        colors: of the classes, {class index: [red, green, blue]}; None: the bundle's own.
        image_channels: 1 (grey) or 3 (RGB).
        structures: what a label value stands for, {name: value}, for those who need to know; None: nobody said.
    """

    network_def: dict
    class_names: tuple[str, ...]
    spacing: tuple[float, float] | None
    size: tuple[int, int]
    data_list_sha256: str
    trained_on: str
    licence: str
    bundle_version: str
    scores: dict[str, float] = field(default_factory=dict)
    normalization: str = NORMALIZATION
    run_sha256: str = ""
    weights_sha256: str = ""
    background: bool = True
    colors: dict[str, list[int]] | None = None
    image_channels: int = 1
    structures: dict[str, int] | None = None

    @property
    def class_iou(self) -> dict[str, float]:
        """The IoU of each class among ``scores``."""
        return {name: self.scores[iou_key(name)] for name in self.class_names if iou_key(name) in self.scores}

    @property
    def grid(self) -> SliceGrid | ImageGrid:
        """Of volumes (with a ``spacing``) or of photographs."""
        return grid_for(self.spacing, self.size, self.image_channels)

    def save(self, path: str | Path, network: nn.Module, scores: Mapping[str, float]) -> None:
        """Write weights (CPU tensors) to ``path`` and the card, with ``scores``, beside it."""
        weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        save_tensors(path, weights)
        known = {"scores": dict(scores), "weights_sha256": _file_sha256(path)}
        write_json(card_path(path), asdict(self) | known)


def card_path(model: str | Path) -> Path:
    """``model.json`` beside ``model.pt``."""
    return Path(model).with_suffix(".json")


def read_card(model: str | Path) -> ModelCard:
    """Read the card beside ``model``.

    Raises:
        InputError: no such file, or not a card.
    """
    path = card_path(model)
    try:
        return ModelCard(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not a model card ({error}): a model is two files side by side, {Path(model).name} and "
            f"{path.name}, both written by training."
        ) from error


def load_model(model: str | Path) -> tuple[nn.Module, ModelCard]:
    """Build the segmentor that ``model`` and its card describe, in evaluation mode, on the CPU.

    Raises:
        InputError: a file is missing or broken, or the weights do not fit the card, with the difference named.
    """
    card = read_card(model)
    if card.weights_sha256 and Path(model).is_file() and card.weights_sha256 != _file_sha256(model):
        raise InputError(
            f"{card_path(model)} was not written with {model}: the weights are others than it describes. Copy both files "
            "of one run, or resume the run (--resume true), which writes both anew."
        )
    return load_network(build(card.network_def), model), card


def load_network(network: nn.Module, model: str | Path, device: torch.device | str = "cpu") -> nn.Module:
    """Load the weights of ``model`` into ``network``, on ``device``, in evaluation mode.

    Raises:
        InputError: no such file, not weights, or weights of another architecture, with the first differences named.
    """
    try:
        weights = torch.load(model, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{model} cannot be read as weights ({root_cause(error)}): copy or train it again.") from error
    if not isinstance(weights, Mapping) or not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
        raise InputError(f"{model} does not hold weights alone: give the model.pt of a run with --model.")
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    different = [name for name in sorted(expected | found) if expected.get(name) != found.get(name)]
    if different:
        shown = "; ".join(f"{name}: network {expected.get(name)}, file {found.get(name)}" for name in different[:3])
        raise InputError(
            f"{model} holds another architecture than the network: {len(different)} of {len(expected)} entries differ "
            f"({shown}). Use the model card that was written with it, or the network_def that it was trained with."
        )
    network.load_state_dict(weights)
    return network.to(device).eval()


def start_from(network: nn.Module, model: str | Path | None) -> nn.Module:
    """``network``, with the weights of ``model`` if one is given, to be trained further.

    Raises:
        InputError: as ``load_network``.
    """
    return network if model is None else load_network(network, model).train()


def file_sha256(path: str | Path | None) -> str | None:
    """Hash of a file's content; None of no file.

    Raises:
        InputError: the file cannot be read.
    """
    if path is None:
        return None
    try:
        return _file_sha256(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Give another file, or copy it again.") from error


def _file_sha256(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256(content: Any) -> str:
    """Hash of plain JSON content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
