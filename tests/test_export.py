"""A model as ONNX, and the engines that compute it."""

import importlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import nn

from scripts import export
from scripts.errors import InputError
from scripts.export import BACKENDS, OnnxRuntimeNetwork, OpenVINONetwork, backend_network, export_onnx
from scripts.model_card import ModelCard, load_model
from scripts.networks.padding import PadToMultiple
from scripts.networks.resnet_generator import ResNetGenerator

UNET = {"spatial_dims": 2, "in_channels": 1, "out_channels": 4, "features": [4, 4, 8, 8, 16, 4]}
DEFINITIONS = {
    "resnet": {
        "_target_": "scripts.networks.resnet_generator.ResNetGenerator",
        "in_channels": 1,
        "out_channels": 4,
        "filters": 2,
        "blocks": 1,
    },
    "unet": {"_target_": "monai.networks.nets.BasicUNet", **UNET},
}


def save(folder: Path, kind: str, size: tuple[int, int] = (32, 48)) -> Path:
    """A model with random weights."""
    torch.manual_seed(0)
    network = BasicUNet(**UNET) if kind == "unet" else ResNetGenerator(1, 4, 2, blocks=1)
    names = ("background", "right", "wall", "left")
    card = ModelCard(DEFINITIONS[kind], names, (1.5, 1.5), size, "", "phantom", "", "0")
    folder.mkdir(parents=True, exist_ok=True)
    card.save(folder / "model.pt", network, {})
    return folder / "model.pt"


@pytest.mark.parametrize("engine", [OnnxRuntimeNetwork, OpenVINONetwork])
@pytest.mark.parametrize(("kind", "size"), [("resnet", (32, 48)), ("resnet", (30, 33)), ("unet", (32, 48))])
def test_engines_give_pytorchs_logits(
    tmp_path: Path, kind: str, size: tuple[int, int], engine: type[nn.Module]
) -> None:
    """Of any number of images, also of sizes that the network wants padded."""
    model = save(tmp_path, kind, size)
    export.main(["--model", str(model)])
    network, _ = load_model(model)
    exported = engine(tmp_path / "model.onnx")
    for count in (1, 3):
        images = torch.randn(count, 1, *size)
        with torch.inference_mode():
            torch.testing.assert_close(exported(images), PadToMultiple(network)(images), rtol=1e-3, atol=1e-4)


def test_an_exported_model_is_used_if_it_is_of_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save(tmp_path, "resnet")
    export.main(["--model", str(model)])
    exported: list[Path] = []
    monkeypatch.setattr(
        export, "export_onnx", lambda *arguments: exported.append(export_onnx(*arguments)) or exported[-1]
    )
    backend_network(*load_model(model), model, "onnxruntime")
    assert exported == []
    changed = onnx.load(str(tmp_path / "model.onnx"))
    onnx.helper.set_model_props(changed, {export.WEIGHTS: "others"})
    onnx.save(changed, str(tmp_path / "model.onnx"))
    backend_network(*load_model(model), model, "onnxruntime")
    assert len(exported) == 1
    assert not exported[0].exists(), "made for the run alone"


def test_pytorch_needs_no_file(tmp_path: Path) -> None:
    network, card = load_model(save(tmp_path, "resnet"))
    assert isinstance(backend_network(network, card, tmp_path / "model.pt"), PadToMultiple)
    assert not list(tmp_path.glob("*.onnx"))


def test_an_unknown_backend_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"one of {', '.join(BACKENDS)}, got 'tensorrt'"):
        backend_network(*load_model(save(tmp_path, "resnet")), tmp_path / "model.pt", "tensorrt")


def test_a_network_on_a_gpu_is_computed_by_pytorch(tmp_path: Path) -> None:
    _, card = load_model(save(tmp_path, "resnet"))
    with pytest.raises(InputError, match="computes on the CPU, and the network is on meta"):
        backend_network(nn.Linear(1, 1, device="meta"), card, tmp_path / "model.pt", "openvino")


def test_another_precision_is_refused(tmp_path: Path) -> None:
    model = save(tmp_path, "resnet")
    with pytest.raises(InputError, match="openvino computes in float32, and precision bfloat16 was asked for"):
        backend_network(*load_model(model), model, "openvino", "bfloat16")


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    model = save(tmp_path, "resnet")
    network, card = load_model(model)
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(InputError, match="onnx is not installed: pip install onnx onnxscript"):
        export_onnx(network, card, tmp_path / "model.onnx")
    assert export.main(["--model", str(model)]) == 1


def test_an_export_with_other_numbers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, card = load_model(save(tmp_path, "resnet"))
    wrong = OnnxRuntimeNetwork.forward
    monkeypatch.setattr(OnnxRuntimeNetwork, "forward", lambda self, image: 1.01 * wrong(self, image))
    with pytest.raises(RuntimeError, match=r"differs from PyTorch by 0\.01 of the largest logit"):
        export_onnx(network, card, tmp_path / "model.onnx")


def test_a_model_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main(["--model", str(tmp_path / "model.pt")]) == 1
    assert "is not a model card" in capsys.readouterr().err


def test_what_an_engine_gives_is_its_own(tmp_path: Path) -> None:
    """Not memory that the next call overwrites."""
    model = save(tmp_path, "resnet")
    export.main(["--model", str(model)])
    exported = OpenVINONetwork(tmp_path / "model.onnx")
    first = exported(torch.zeros(1, 1, 32, 48))
    kept = first.clone()
    exported(torch.ones(1, 1, 32, 48).cumsum(-1))
    np.testing.assert_array_equal(first.numpy(), kept.numpy())
