"""Cards of models of photographs, and starting a training from given weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scripts.data.image_grid import ImageGrid
from scripts.data.preprocessing import SliceGrid
from scripts.errors import InputError
from scripts.model_card import ModelCard, card_path, load_model, read_card, start_from
from scripts.networks.resnet_generator import ResNetGenerator

NEW_KEYS = ("background", "colors", "image_channels", "structures")


def definition(**changes: Any) -> dict[str, Any]:
    known = {
        "_target_": "scripts.networks.resnet_generator.ResNetGenerator",
        "in_channels": 3,
        "out_channels": 3,
        "filters": 2,
        "blocks": 1,
    }
    return known | changes


def network(**changes: Any) -> nn.Module:
    options = definition(**changes)
    del options["_target_"]
    return ResNetGenerator(**options)


def card(**changes: Any) -> ModelCard:
    settings: dict[str, Any] = {
        "network_def": definition(),
        "class_names": ("road", "traffic light", "sky"),
        "spacing": None,
        "size": (32, 64),
        "data_list_sha256": "0" * 64,
        "trained_on": "a street",
        "licence": "CC0-1.0",
        "bundle_version": "0.2.0",
        "background": False,
        "colors": {"0": [128, 64, 128], "1": [250, 170, 30]},
        "image_channels": 3,
        "structures": {"road": 0},
    }
    return ModelCard(**(settings | changes))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of photographs with its card."""
    torch.manual_seed(5)
    scores = {"miou": 0.5, "iou_road": 0.75, "iou_traffic_light": 0.25, "epoch": 3}
    card().save(tmp_path / "a model.pt", network(), scores)
    return tmp_path / "a model.pt"


def test_without_spacing_the_grid_is_of_photographs() -> None:
    grid = card().grid
    assert grid == ImageGrid((32, 64), 3)
    assert grid.x_first is False
    assert card(image_channels=1).grid == ImageGrid((32, 64), 1)


def test_with_spacing_the_grid_is_of_volumes() -> None:
    grid = card(spacing=(1.5, 1.5), image_channels=1).grid
    assert grid == SliceGrid((1.5, 1.5), (32, 64))
    assert grid.x_first is True


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_channels": 4}, r"1 \(grey\) or 3 \(RGB\) channels, got image_channels = 4"),
        ({"spacing": (1.5, 1.5)}, "volumes have one channel here, got image_channels = 3"),
        ({"size": (32,)}, "two positive whole numbers"),
        ({"size": (32, 0)}, "two positive whole numbers"),
    ],
)
def test_grids_that_cannot_be_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _ = card(**changes).grid


def test_card_survives_its_file(model: Path) -> None:
    written, read = card(), read_card(model)
    assert read.grid == written.grid
    for name in ("background", "colors", "image_channels", "structures", "spacing", "network_def"):
        assert getattr(read, name) == getattr(written, name)
    assert tuple(read.class_names) == written.class_names


def test_class_iou_is_by_name_and_leaves_out_what_was_not_scored(model: Path) -> None:
    assert read_card(model).class_iou == {"road": 0.75, "traffic light": 0.25}
    assert card().class_iou == {}


def test_a_card_of_an_earlier_version_is_one_of_volumes(model: Path) -> None:
    content = json.loads(card_path(model).read_text(encoding="utf-8"))
    for name in NEW_KEYS:
        del content[name]
    card_path(model).write_text(json.dumps(content | {"spacing": [1.5, 1.5]}), encoding="utf-8")
    read = read_card(model)
    assert (read.background, read.colors, read.image_channels, read.structures) == (True, None, 1, None)
    assert read.grid == SliceGrid((1.5, 1.5), (32, 64))


def test_model_is_built_from_its_card_alone(model: Path) -> None:
    loaded, read = load_model(model)
    torch.manual_seed(5)
    expected = network().eval()
    image = torch.randn(1, read.image_channels, 32, 32)
    assert torch.equal(loaded(image), expected(image))


def test_starting_without_a_model_leaves_the_network_as_it_is() -> None:
    fresh = network()
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    assert start_from(fresh, None) is fresh
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh.state_dict().items())


@pytest.mark.parametrize("as_text", [True, False])
def test_starting_from_a_model_takes_its_weights_and_trains_on(model: Path, as_text: bool) -> None:
    torch.manual_seed(6)
    fresh = network().eval()
    started = start_from(fresh, str(model) if as_text else model)
    assert started is fresh
    expected = torch.load(model, weights_only=True)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in started.state_dict().items())
    assert all(module.training for module in started.modules())
    assert all(parameter.requires_grad for parameter in started.parameters())
    saved = model.read_bytes()
    with torch.no_grad():
        next(started.parameters()).add_(1)
    assert model.read_bytes() == saved


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"out_channels": 4}, r"network \(4, 2, 7, 7\), file \(3, 2, 7, 7\)"),
        ({"in_channels": 1}, r"network \(2, 1, 7, 7\), file \(2, 3, 7, 7\)"),
        ({"blocks": 2}, "file None"),
        ({"filters": 4}, "another architecture"),
    ],
)
def test_weights_of_another_network_are_refused_with_the_difference(model: Path, changes: dict, named: str) -> None:
    other = network(**changes)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(InputError, match=named):
        start_from(other, model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as weights"),
        (b"not weights", "cannot be read as weights"),
        ({"networks": {"a": torch.zeros(1)}}, "does not hold weights alone"),
    ],
)
def test_files_that_are_no_weights_are_refused_by_name(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "given.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=message) as raised:
        start_from(network(), path)
    assert str(path) in str(raised.value)
