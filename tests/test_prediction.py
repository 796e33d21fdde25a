"""Labels of a cine: phase by phase, the same as all at once."""

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from scripts.data.preprocessing import SliceGrid
from scripts.errors import InputError
from scripts.likelihood import explained
from scripts.prediction import AcquiredGridd, NativeLabels, NativeLabelsd, NativeStackInferer, StackInferer

CLASSES, PHASES, SLICES = 3, 4, 2


@pytest.fixture
def image() -> MetaTensor:
    """A preprocessed cine (P, 16, 16, S) of volumes of 12 x 10 voxels, which knows where it came from."""
    voxels = torch.rand(PHASES, 12, 10, SLICES, generator=torch.Generator().manual_seed(0))
    cine = MetaTensor(voxels, affine=torch.diag(torch.tensor([1.5, 2.0, 8.0, 1.0], dtype=torch.float64)))
    cine.meta |= {
        "original_affine": cine.affine.clone(),
        "spatial_shape": [12, 10, SLICES],
        "filename_or_obj": "cine.nii",
    }
    return SliceGrid((2.0, 2.0), (16, 16)).resampling(("image",))({"image": cine})["image"]


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(1, CLASSES, 3, padding=1)


class Counting(NativeLabels):
    """Remembers how many channels of probabilities were there at a time."""

    def __init__(self) -> None:
        super().__init__(CLASSES)
        self.channels: list[int] = []

    def __call__(self, probabilities: Tensor, image: MetaTensor) -> Tensor:
        self.channels.append(len(probabilities))
        return super().__call__(probabilities, image)


@pytest.mark.parametrize(("batch_size", "at_a_time"), [(1, [1, 1, 1, 1]), (3, [1, 1, 1, 1]), (6, [3, 1]), (16, [4])])
@torch.no_grad()
def test_some_phases_at_a_time_are_as_all_at_once(
    image: MetaTensor, network: nn.Module, batch_size: int, at_a_time: list[int]
) -> None:
    counting = Counting()
    labels = NativeStackInferer(counting, batch_size=batch_size)(image.unsqueeze(0), network)
    assert counting.channels == [CLASSES * count for count in at_a_time], "as many as fill a batch"
    assert (labels.shape, labels.dtype) == ((1, PHASES, 12, 10, SLICES), torch.uint8)
    placed = AcquiredGridd()({"pred": labels[0], "image": image})["pred"]
    probabilities = StackInferer()(image.unsqueeze(0), network)[0]
    expected = NativeLabelsd(CLASSES)({"pred": probabilities, "image": image})["pred"]
    assert len(expected.unique()) > 1
    assert torch.equal(placed, expected)
    assert torch.equal(placed.affine, image.meta["original_affine"])
    assert placed.meta["filename_or_obj"] == "cine.nii"


@torch.no_grad()
def test_a_network_of_other_classes_is_refused(image: MetaTensor, network: nn.Module) -> None:
    with pytest.raises(InputError, match="gives 3 classes where the model card names 4"):
        NativeStackInferer(NativeLabels(4))(image.unsqueeze(0), network)


@torch.no_grad()
def test_by_the_likelihood_the_image_counts_beside_the_network(image: MetaTensor, network: nn.Module) -> None:
    given, found = (StackInferer(likelihood=exponent)(image.unsqueeze(0), network)[0] for exponent in (0, 0.5))
    first = torch.as_tensor(image)[:1, ..., 0].unsqueeze(0)
    assert torch.allclose(found[:CLASSES, ..., 0], explained(network(first), first, 0.5)[0], atol=1e-6)
    assert not torch.allclose(found, given, atol=0.01)


@pytest.mark.parametrize("exponent", [-0.1, 1.5, "0.5", True, float("nan")])
def test_a_likelihood_that_is_no_exponent(exponent: object) -> None:
    with pytest.raises(InputError, match=r"--likelihood must be a number in \[0, 1\]"):
        StackInferer(likelihood=exponent)  # type: ignore[arg-type]


def test_a_wrong_piece_is_left_out_though_it_is_the_largest_of_its_class(image: MetaTensor) -> None:
    classes = torch.zeros(16, 16, SLICES, dtype=torch.long)
    classes[2:4, 4:10], classes[4:8, 4:10], classes[10:14, 4:10] = 1, 2, 1
    probabilities = torch.nn.functional.one_hot(classes, CLASSES).movedim(-1, 0).float()
    whole, kept = (NativeLabels(CLASSES, largest_component=only)(probabilities, image)[0] for only in (False, True))
    rows = (whole == 2).any(2).any(1).nonzero()
    beyond = torch.arange(len(whole)) > rows.max()
    assert (whole[beyond] == 1).sum() > (whole[~beyond] == 1).sum() > 0
    assert torch.equal(kept, whole.masked_fill(beyond.view(-1, 1, 1), 0))
