"""The panel of networks at work on photographs: colours, void, orientation, and the columns of each method."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import Tensor, nn

from scripts.networks.fully_convolutional_discriminator import FullyConvolutionalDiscriminator
from scripts.networks.pixel_discriminator import PixelDiscriminator
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.objectives.adversarial import AdversarialObjective
from scripts.objectives.cycle_teacher import CycleTeacherObjective
from scripts.objectives.cyclegan import CycleGANObjective
from scripts.objectives.supervised import SupervisedObjective
from scripts.palette import class_colormap, class_colors
from scripts.training.averaging import average_of
from scripts.training.panel import PicturePanel, draw_panel
from scripts.training.trainer import AlternatingTrainer

CLASSES = 3
HEIGHT, WIDTH = 32, 48
TITLES = ["image", "truth", "prediction"]
CYCLES = ["generated image", "image cycle", "mask cycle"]
COLUMNS = {
    "supervised": TITLES,
    "adversarial": TITLES,
    "paper": TITLES + CYCLES,
    "cycle teacher": [*TITLES, "rendered mask", *CYCLES],
}


class Photographs:
    """Four RGB photographs of two slices each: of each, the second has more objects, the first more void."""

    def __init__(self, channels: int = 3) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.rand(8, channels, HEIGHT, WIDTH, generator=generator) - 0.4
        self.labels = torch.zeros(8, HEIGHT, WIDTH, dtype=torch.uint8)
        self.labels[0::2, :16] = 255
        self.labels[0::2, 16:18, :4] = 1
        self.labels[1::2, :8, :10] = 2
        self.labels[1::2, 20:24] = 255
        self.cases = torch.arange(4).repeat_interleave(2)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"image": self.images[index], "label": self.labels[index].long(), "case": self.cases[index]}

    def __len__(self) -> int:
        return len(self.images)


def make_objective(method: str, channels: int = 3) -> Any:
    torch.manual_seed(0)
    segmentor = ResNetGenerator(channels, CLASSES, filters=2, blocks=1)
    if method == "supervised":
        return SupervisedObjective(segmentor)
    if method == "adversarial":
        return AdversarialObjective(segmentor, FullyConvolutionalDiscriminator(CLASSES, 1), CLASSES)
    discriminators = PixelDiscriminator(CLASSES, 2), PixelDiscriminator(channels, 2)
    if method == "cycle teacher":
        image_generator = ResNetGenerator(CLASSES + channels + 1, channels, filters=2, blocks=1, activation="tanh")
        return CycleTeacherObjective(segmentor, average_of(segmentor), image_generator, *discriminators, CLASSES)
    image_generator = ResNetGenerator(CLASSES, channels, filters=2, blocks=1, activation="tanh")
    return CycleGANObjective(segmentor, image_generator, *discriminators, CLASSES)


def make_trainer(objective: Any, dataset: Photographs, max_epochs: int = 1, handlers: tuple = ()) -> AlternatingTrainer:
    chosen = [dataset[index] for index in (1, 3)]
    batch = {name: torch.stack([item[name] for item in chosen]) for name in ("image", "label")}
    batch["unlabeled_image"] = batch["image"].flip(0)

    def sgd(networks: nn.Module) -> torch.optim.Optimizer | None:
        parameters = list(networks.parameters())
        return torch.optim.SGD(parameters, 1e-3) if parameters else None

    optimizer = sgd(objective.generators)
    assert optimizer is not None
    return AlternatingTrainer(
        objective,
        optimizer,
        sgd(objective.discriminators),
        device="cpu",
        max_epochs=max_epochs,
        train_data_loader=[batch],
        train_handlers=handlers,
    )


def make_panel(folder: Path, dataset: Photographs, **options: Any) -> PicturePanel:
    return PicturePanel(folder, dataset, class_colormap(CLASSES), **({"x_first": False} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", COLUMNS)
def test_columns_are_upright_pictures_of_what_the_method_has(method: str, tmp_path: Path) -> None:
    dataset = Photographs()
    panel = make_panel(tmp_path, dataset, cases=2)
    columns = panel._columns(make_trainer(make_objective(method), dataset))
    assert list(columns) == COLUMNS[method]
    for title, stack in columns.items():
        if np.issubdtype(stack.dtype, np.integer):
            assert stack.shape == (2, HEIGHT, WIDTH)
            assert stack.max() < CLASSES
        else:
            assert stack.shape == (2, HEIGHT, WIDTH, 3), title
            assert [(picture.min(), picture.max()) for picture in stack] == [(0, 1), (0, 1)], "each in its own range"


def test_colors_and_truth_are_the_data_sets(tmp_path: Path) -> None:
    dataset = Photographs()
    panel = make_panel(tmp_path, dataset, cases=4)
    assert panel.chosen() == [1, 3, 5, 7], "void is no object"
    columns = panel._columns(make_trainer(make_objective("supervised"), dataset))
    for row, index in enumerate(panel.chosen()):
        image = dataset.images[index].movedim(0, -1).numpy()
        expected = (image - image.min()) / (image.max() - image.min())
        np.testing.assert_allclose(columns["image"][row], expected, atol=1e-6)
        label = dataset.labels[index].numpy().astype(int)
        np.testing.assert_array_equal(columns["truth"][row], np.where(label == 255, -1, label))


def test_grey_images_have_no_color_axis_and_volumes_are_turned_upright(tmp_path: Path) -> None:
    dataset = Photographs(channels=1)
    trainer = make_trainer(make_objective("supervised", channels=1), dataset)
    rows_first, x_first = (make_panel(tmp_path, dataset, x_first=flag)._columns(trainer) for flag in (False, True))
    assert rows_first["image"].shape == (4, HEIGHT, WIDTH)
    for title in TITLES:
        np.testing.assert_array_equal(x_first[title], rows_first[title].transpose(0, 2, 1))


def test_constant_pictures_are_drawn_too(tmp_path: Path) -> None:
    dataset = Photographs()
    dataset.images[:] = 0.3
    columns = make_panel(tmp_path, dataset)._columns(make_trainer(make_objective("supervised"), dataset))
    assert np.isfinite(columns["image"]).all()


def test_masks_are_drawn_in_the_classes_colors_and_void_in_black() -> None:
    mask = np.array([[-1, 0, 1, 2]])
    photograph = np.random.default_rng(0).random((1, 1, 4, 3))
    colors = {"1": [10, 20, 30], "2": [200, 100, 50]}
    figure = draw_panel({"image": photograph, "mask": mask[None]}, class_colormap(CLASSES, colors=colors))
    image_axes, mask_axes = figure.axes
    np.testing.assert_array_equal(image_axes.images[0].get_array(), photograph[0])
    below, drawn = mask_axes.images
    assert below.to_rgba(below.get_array()).tolist() == [[[0, 0, 0, 1]] * 4]
    shown = drawn.to_rgba(drawn.get_array(), bytes=True)[0].tolist()
    assert [color[3] for color in shown] == [0, 0, 255, 255]
    assert [color[:3] for color in shown[2:]] == [[10, 20, 30], [200, 100, 50]]


def test_without_background_the_first_class_has_a_color() -> None:
    figure = draw_panel({"mask": np.array([[[-1, 0]]])}, class_colormap(CLASSES, background=False))
    drawn = figure.axes[0].images[1]
    shown = drawn.to_rgba(drawn.get_array(), bytes=True)[0]
    assert shown[0, 3] == 0
    expected = class_colors(CLASSES, background=False)[0]
    assert "#" + bytes(shown[1, :3]).hex().upper() == expected


def test_a_row_is_as_high_as_the_photographs_are() -> None:
    wide, high = ({"image": np.zeros((2, *size, 3))} for size in ((10, 20), (20, 10)))
    sizes = [draw_panel(columns, class_colormap(CLASSES)).get_size_inches() for columns in (wide, high)]
    assert sizes[0][0] == sizes[1][0]
    assert (sizes[1][1] - 0.3) == pytest.approx(4 * (sizes[0][1] - 0.3))


@pytest.mark.parametrize("method", ["supervised", "adversarial", "paper"])
def test_panels_are_written_when_due_and_at_the_end(method: str, tmp_path: Path) -> None:
    dataset = Photographs()
    panel = make_panel(tmp_path, dataset, interval=2, cases=1)
    make_trainer(make_objective(method), dataset, max_epochs=3, handlers=(panel,)).run()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"epoch_0002.png", "epoch_0003.png", "latest.png"}
    for name in names:
        height, width = imread(tmp_path / name).shape[:2]
        assert width == pytest.approx(220 * (6 if method == "paper" else 3), abs=2)
        assert height == pytest.approx(220 * HEIGHT / WIDTH + 30, abs=2)
