"""A trained segmentor as ONNX, and run by other engines than PyTorch.

``python -m scripts.export --model models/model.pt`` writes ``models/model.onnx`` beside the model and its card: images
(B, C, H, W) float32 at the card's size, any B, to logits (B, K, H, W). ``python -m scripts.benchmarks.inference`` measures which
engine is the fastest on a machine.
"""

import argparse
import importlib
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from scripts.errors import InputError, exit_code_of
from scripts.files import write_atomically
from scripts.model_card import ModelCard, load_model
from scripts.networks.padding import PadToMultiple

PYTORCH, BACKENDS = "pytorch", ("pytorch", "onnxruntime", "openvino")
WEIGHTS = "weights_sha256"
"""Under which an ONNX file says which weights it was made of."""
LARGEST_DIFFERENCE = 1e-3
"""Of logits, relative to their largest, between PyTorch and what was exported."""


def export_onnx(network: nn.Module, card: ModelCard, path: str | Path) -> Path:
    """Write ``network``, which ``card`` describes, to ``path``, whole or not at all.

    Raises:
        InputError: onnx or onnxscript is not installed, or ``path`` cannot be written. RuntimeError: ONNX Runtime's numbers,
            where it is installed, are not PyTorch's.
    """
    onnx = _imported("onnx", "onnx onnxscript")
    _imported("onnxscript", "onnx onnxscript")
    padded = PadToMultiple(network).cpu().eval()
    example = torch.zeros(2, card.image_channels, *card.size)
    with _quietly():
        program = torch.onnx.export(
            padded,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            input_names=["image"],
            output_names=["logits"],
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {WEIGHTS: card.weights_sha256 or ""})
    written = write_atomically(path, lambda partial: onnx.save(model, str(partial)))
    _check(padded, written, example.shape[1:])
    return written


def backend_network(
    network: nn.Module, card: ModelCard, model: str | Path, backend: str = PYTORCH, precision: str = "auto"
) -> nn.Module:
    """``network`` as a module that ``backend`` computes, for images of any size that the card's grid gives.

    Args:
        network: of ``card``, with its weights.
        model: ``model.pt``; ``model.onnx`` beside it is used if it was made of the same weights, else it is exported for this
            run alone.
        backend: of ``BACKENDS``; other than "pytorch" on the CPU only.
        precision: that is asked for; others than PyTorch compute in float32.

    Raises:
        InputError: an unknown backend, one that is not installed, a network on a GPU, or another precision.
    """
    if backend not in BACKENDS:
        raise InputError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}.")
    if backend == PYTORCH:
        return PadToMultiple(network)
    device = next(network.parameters()).device
    if device.type != "cpu":
        raise InputError(f"backend {backend} computes on the CPU, and the network is on {device}: use backend pytorch.")
    if precision not in ("auto", "float32"):
        raise InputError(
            f"backend {backend} computes in float32, and precision {precision} was asked for: use pytorch."
        )
    engine = {"onnxruntime": OnnxRuntimeNetwork, "openvino": OpenVINONetwork}[backend]
    beside = Path(model).with_suffix(".onnx")
    if _weights_of(beside) == card.weights_sha256 is not None:
        return engine(beside)
    with tempfile.TemporaryDirectory() as folder:
        return engine(export_onnx(network, card, Path(folder) / "model.onnx"))


class OnnxRuntimeNetwork(nn.Module):
    """An exported segmentor, computed by ONNX Runtime on the CPU."""

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        runtime = _imported("onnxruntime")
        self.session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, C, H, W) float32 to logits (B, K, H, W) float32."""
        return torch.from_numpy(self.session.run(None, {"image": _array(image)})[0])


class OpenVINONetwork(nn.Module):
    """An exported segmentor, computed by OpenVINO on the CPU, in float32."""

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        openvino = _imported("openvino")
        core = openvino.Core()
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        self.compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, C, H, W) float32 to logits (B, K, H, W) float32."""
        return torch.from_numpy(np.array(self.compiled(_array(image))[0]))


def _array(image: Tensor) -> np.ndarray:
    return image.as_subclass(Tensor).contiguous().numpy()


def _imported(package: str, install: str | None = None) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(f"{package} is not installed: pip install {install or package}.") from error


def _weights_of(path: Path) -> str | None:
    """Hash of the weights that the ONNX file at ``path`` was made of; None if it does not say, or is not there."""
    if not path.is_file():
        return None
    onnx = _imported("onnx", "onnx onnxscript")
    properties = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    return properties.get(WEIGHTS) or None


def _check(network: nn.Module, path: Path, shape: torch.Size) -> None:
    """Compare with PyTorch on noise, where ONNX Runtime is installed."""
    try:
        exported = OnnxRuntimeNetwork(path)
    except InputError:
        return
    noise = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = network(noise), exported(noise)
    difference = float((expected - found).abs().max() / expected.abs().max())
    if not difference < LARGEST_DIFFERENCE:
        raise RuntimeError(
            f"what was exported to {path} differs from PyTorch by {difference:.2g} of the largest logit, more than "
            f"{LARGEST_DIFFERENCE:g}: do not use it."
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """Within, the exporter's loggers say only what is wrong."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def export(model: str | Path, output: str | Path | None = None) -> Path:
    """The ONNX file of ``model``, beside it unless told otherwise."""
    network, card = load_model(model)
    return export_onnx(network, card, output or Path(model).with_suffix(".onnx"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/model.pt"))
    parser.add_argument("--output", type=Path, help="default: the model's name with .onnx")
    options = parser.parse_args(arguments)

    def work() -> int:
        print(export(options.model, options.output))
        return 0

    return exit_code_of(work)


if __name__ == "__main__":
    raise SystemExit(main())
