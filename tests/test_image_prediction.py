"""Photographs through a network, and labels at the size of their files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from imagesets import colored, shapes, write_image
from monai.data import MetaTensor
from scipy.ndimage import map_coordinates
from torch import Tensor, nn

from scripts.data.image_grid import ImageGrid, resize_image
from scripts.errors import InputError
from scripts.image_prediction import ImageInferer, ImageLabelsd, NetworkImaged


class Fixed(nn.Module):
    """Gives the logits that it was made with."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        assert type(x) is Tensor, "networks get plain tensors"
        return self.logits.to(x.device)


def resized(probabilities: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(K, H, W) to (K, *size), linearly between the middles of pixels, the border repeated."""
    rows, columns = (
        (np.arange(new) + 0.5) * old / new - 0.5 for new, old in zip(size, probabilities.shape[1:], strict=True)
    )
    places = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([map_coordinates(p, places, order=1, mode="nearest") for p in probabilities.astype(np.float64)])


# What the network sees


def test_a_likelihood_is_refused_for_photographs() -> None:
    with pytest.raises(InputError, match="--likelihood is for volumes"):
        ImageInferer(3, likelihood=0.5)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_becomes_what_training_saw(tmp_path: Path, channels: int) -> None:
    rng = np.random.default_rng(0)
    path = write_image(tmp_path / "a photograph.png", colored(shapes((40, 48), (1, 2), rng), rng))
    grid = ImageGrid((16, 20), channels)
    done = NetworkImaged(grid)({"image": str(path), "name": "kept"})
    pixels = resize_image(grid.preprocessing().read({"image": path})["image"], (16, 20)).numpy().astype(np.float64)
    expected = np.stack([(x - x.mean()) / (x.max() - x.min()) for x in pixels])
    assert (done["image"].dtype, done["image"].shape) == (torch.float32, (channels, 16, 20))
    np.testing.assert_allclose(done["image"].numpy(), expected, atol=1e-6)
    assert (done["file_size"], done["file"], done["name"]) == ([40, 48], str(path), "kept")


# Probabilities


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_probabilities_are_the_softmax_of_the_logits(precision: str) -> None:
    logits = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    probabilities = ImageInferer(5, precision)(MetaTensor(torch.zeros(2, 3, 4, 6)), Fixed(logits))
    expected = np.exp(logits.double().numpy())
    expected /= expected.sum(1, keepdims=True)
    assert probabilities.dtype == torch.float32
    np.testing.assert_allclose(probabilities.numpy(), expected, atol=1e-6)


def test_the_void_channel_is_never_chosen() -> None:
    """Of a network trained with void as a class: the other classes share what it would take."""
    logits = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    logits[:, 3] += 10
    probabilities = ImageInferer(3)(torch.zeros(1, 3, 8, 8), Fixed(logits))
    assert probabilities.shape == (1, 3, 8, 8)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(1, 8, 8))
    torch.testing.assert_close(probabilities, logits[:, :3].softmax(1))


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_a_network_of_other_classes_is_refused(channels: int) -> None:
    with pytest.raises(
        InputError, match=rf"the network gives {channels} classes where the model card names 3: give the"
    ):
        ImageInferer(3)(torch.zeros(1, 3, 8, 8), Fixed(torch.zeros(1, channels, 8, 8)))


# Labels


@pytest.mark.parametrize("size", [(9, 13), (20, 24), (41, 30), (10, 12)])
@pytest.mark.parametrize("as_metatensor", [False, True])
def test_probabilities_are_resized_before_the_class_is_chosen(size: tuple[int, int], as_metatensor: bool) -> None:
    probabilities = torch.rand(4, 10, 12, generator=torch.Generator().manual_seed(0)).softmax(0)
    given = MetaTensor(probabilities) if as_metatensor else probabilities
    done = ImageLabelsd()({"pred": given, "file_size": torch.tensor(size), "name": "kept"})
    assert done["name"] == "kept"
    assert (done["pred"].dtype, done["pred"].shape) == (torch.uint8, (1, *size))
    assert (done["small_pred"].dtype, done["small_pred"].shape) == (torch.uint8, (1, 10, 12))
    np.testing.assert_array_equal(done["pred"][0].numpy(), resized(probabilities.numpy(), size).argmax(0))
    np.testing.assert_array_equal(done["small_pred"][0].numpy(), probabilities.numpy().argmax(0))


def test_a_class_can_win_between_two_others() -> None:
    """Which labels resized as labels would never show: half way from 0 to 2, both are weaker than 1."""
    probabilities = torch.tensor([[[0.6, 0.0]], [[0.4, 0.4]], [[0.0, 0.6]]])
    done = ImageLabelsd()({"pred": probabilities, "file_size": [1, 10]})
    assert done["small_pred"].tolist() == [[[0, 2]]]
    assert done["pred"].tolist() == [[[0, 0, 0, 0, 1, 1, 2, 2, 2, 2]]]


def test_what_was_given_is_not_changed() -> None:
    data = {"pred": torch.rand(3, 4, 4), "file_size": [8, 8]}
    before = data["pred"].clone()
    ImageLabelsd()(data)
    assert data.keys() == {"pred", "file_size"}
    assert torch.equal(data["pred"], before)
