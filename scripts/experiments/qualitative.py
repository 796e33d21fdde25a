"""The paper's Figures 3 to 7: the same validation images, their truth, and what each arm makes of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import Tensor

from scripts.data.slices import SliceDataset
from scripts.errors import InputError
from scripts.evaluation.finished_run import FinishedRun, read_run
from scripts.experiments.cells import FULL, HUNG, OURS, PARTIAL, Cell
from scripts.labels import VOID
from scripts.model_card import ModelCard, load_model
from scripts.networks.padding import PadToMultiple
from scripts.palette import class_colors

COLUMNS = (FULL, PARTIAL, HUNG, OURS)
ROWS = 4
VOID_COLOR = (0.6, 0.6, 0.6)
_INCHES = 1.7


@dataclass(frozen=True)
class Examples:
    """Validation images and their labels, by arm.

    Attributes:
        images: each (C, rows, columns), float32 or uint8. truths: each (rows, columns) int64, 255 = void.
        predictions: by arm, each (rows, columns) int64.
        colors: (K, 3) in [0, 1]. class_names: of the K classes.
        names: of the images' files. pixel_aspect: height of a pixel over its width, as shown.
    """

    images: tuple[Tensor, ...]
    truths: tuple[Tensor, ...]
    predictions: Mapping[str, tuple[Tensor, ...]]
    colors: NDArray
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    pixel_aspect: float = 1.0


def chosen_runs(cells: Sequence[Cell], percent: float, runs_dir: Path) -> tuple[int, dict[str, Path]]:
    """The seed whose runs show most arms, the lowest of several, and the run folders of its arms.

    Args:
        cells: of one group. percent: of labels; Full is taken at its own.
        runs_dir: what ``Cell.run_dir`` is relative to.

    Raises:
        InputError: no run folder is left.
    """
    found: dict[int, dict[str, Path]] = {}
    for cell in cells:
        at_percent = cell.labeled_percent == percent or cell.arm == FULL
        if cell.arm in COLUMNS and at_percent and cell.run_dir and (runs_dir / cell.run_dir / "run.json").is_file():
            found.setdefault(cell.seed, {})[cell.arm] = runs_dir / cell.run_dir
    if not found:
        raise InputError(
            f"no folder of these runs is below {runs_dir}: expected the output folder of the experiments, in which each "
            "cell's run_dir lies. Give that folder, or run the cells again."
        )
    seed = min(found, key=lambda seed: (-len(found[seed]), seed))
    return seed, {arm: found[seed][arm] for arm in COLUMNS if arm in found[seed]}


def examples(runs: Mapping[str, str | Path], rows: int = ROWS) -> Examples:
    """Predict some validation images by the model of each run, on the networks' grid.

    The items are spread evenly over the validation list; of a volume the slice with most foreground is taken.

    Args:
        runs: run folder by arm, with equal data.
        rows: how many images, at most.

    Raises:
        InputError: a run or model that cannot be read, data that is not there, runs with different validation items.
    """
    read = {arm: read_run(folder) for arm, folder in runs.items()}
    loaded = {arm: load_model(run.model) for arm, run in read.items()}
    _check_equal(read, {arm: card for arm, (_, card) in loaded.items()})
    run, (_, card) = next(iter(read.values())), next(iter(loaded.values()))
    listed = [item for item in run.data_list.get("validation", []) if "label" in item]
    if not listed:
        raise InputError(f"the run in {run.folder} has no labelled validation items, so there is nothing to show.")
    places = np.linspace(0, len(listed) - 1, min(rows, len(listed))).round().astype(int)
    dataset = _dataset(run, card, [listed[place] for place in places])
    indices = _fullest_slices(dataset)
    samples = [dataset[index] for index in indices]
    show = _upright(card)
    return Examples(
        images=tuple(show(dataset.images[index]) for index in indices),
        truths=tuple(show(sample["label"]) for sample in samples),
        predictions={
            arm: tuple(show(_predict(network, sample["image"], len(card.class_names))) for sample in samples)
            for arm, (network, _) in loaded.items()
        },
        colors=_colors(run.data_list, card),
        class_names=tuple(card.class_names),
        names=tuple(Path(name).name for name in dataset.names(indices)),
        pixel_aspect=card.spacing[1] / card.spacing[0] if card.spacing else 1.0,
    )


def draw_examples(shown: Examples, title: str) -> Figure:
    """A grid of pictures: a row an image, a column each for image, truth and every arm; masks on black."""
    columns = ["image", "truth", *shown.predictions]
    masks = [shown.truths, *shown.predictions.values()]
    (height, width), count = shown.images[0].shape[-2:], len(shown.images)
    inches = _INCHES * shown.pixel_aspect * height / width
    legend_rows = -(-(len(shown.class_names) + 1) // (2 * len(columns)))
    size = (_INCHES * len(columns), inches * count + 0.62 + 0.24 * legend_rows)
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02)
    figure = Figure(figsize=size, layout=layout, facecolor="white")
    figure.suptitle(title, fontsize=10)
    grid = figure.subplots(count, len(columns), squeeze=False)
    for row in range(count):
        image = shown.images[row]
        _picture(grid[row, 0], as_picture(image), shown.pixel_aspect)
        for column, stack in enumerate(masks, start=1):
            _picture(grid[row, column], colored(stack[row], shown.colors), shown.pixel_aspect)
    for axes, name in zip(grid[0], columns, strict=True):
        axes.set_title(name, fontsize=9)
    handles = [
        Patch(facecolor=tuple(c), edgecolor="0.5", label=n)
        for c, n in zip(shown.colors, shown.class_names, strict=True)
    ]
    if any(bool((truth == VOID).any()) for truth in shown.truths):
        handles.append(Patch(facecolor=VOID_COLOR, edgecolor="0.5", label="void"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2 * len(columns), fontsize=7, frameon=False)
    return figure


def as_picture(image: Tensor) -> NDArray:
    """(C, H, W) to (H, W, 3) in [0, 1]: three channels in colour, else the first in grey; 8 bits as they are, floats
    stretched."""
    chosen = (image if len(image) == 3 else image[:1].expand(3, -1, -1)).double()
    if image.dtype == torch.uint8:
        return (chosen / 255).permute(1, 2, 0).numpy()
    low, high = chosen.min(), chosen.max()
    return ((chosen - low) / (high - low).clamp_min(1e-12)).permute(1, 2, 0).numpy()


def colored(label: Tensor, colors: NDArray) -> NDArray:
    """(H, W) class indices, 255 = void, to (H, W, 3) in [0, 1]."""
    table = np.tile(np.asarray(VOID_COLOR), (VOID + 1, 1))
    table[: len(colors)] = colors
    return table[label.numpy()]


def _picture(axes: Axes, picture: NDArray, aspect: float) -> None:
    axes.imshow(picture, interpolation="nearest", aspect=aspect)
    axes.set_axis_off()


def _check_equal(runs: Mapping[str, FinishedRun], cards: Mapping[str, ModelCard]) -> None:
    """All arms must be shown on the same items, on one grid, with the same classes."""

    def facts(arm: str) -> tuple:
        card = cards[arm]
        return runs[arm].data_list.get("validation"), tuple(card.class_names), card.size, card.spacing

    first, *others = runs
    for arm in others:
        if facts(arm) != facts(first):
            raise InputError(
                f"the runs {runs[first].folder} ({first}) and {runs[arm].folder} ({arm}) differ in their validation items, "
                "classes or grid, so their pictures cannot stand side by side. Run them with the same data, split and seed."
            )


def _dataset(run: FinishedRun, card: ModelCard, items: Sequence[Mapping[str, str]]) -> SliceDataset:
    label_map = run.data_list.get("label_map")
    transform = card.grid.preprocessing(("image", "label"), len(card.class_names), label_map)
    return SliceDataset(items, transform, base_dir=run.dataset_dir, name="shown validation images")


def _upright(card: ModelCard) -> Callable[[Tensor], Tensor]:
    """From arrays to pictures (rows, columns): those of volumes are (x, y), those of photographs are pictures already."""
    return (lambda array: array.mT) if card.grid.x_first else (lambda array: array)


def _fullest_slices(dataset: SliceDataset) -> list[int]:
    """Of each case the slice with most foreground."""
    if dataset.labels is None:
        return []
    area = ((dataset.labels > 0) & (dataset.labels != VOID)).sum((1, 2)).cpu()
    cases = dataset.cases.cpu()
    return [int(torch.where(cases == case, area, -1).argmax()) for case in cases.unique()]


@torch.no_grad()
def _predict(network: torch.nn.Module, image: Tensor, num_classes: int) -> Tensor:
    """(C, H, W) to (H, W) int64; outputs beyond the classes (void in training) are passed over."""
    return PadToMultiple(network)(image[None].float())[0, :num_classes].argmax(0)


def _colors(data_list: Mapping, card: ModelCard) -> NDArray:
    """(K, 3) in [0, 1]: of the data list, else of the palette; background is black."""
    colors = class_colors(len(card.class_names), data_list.get("colors"), card.background)
    return np.array([to_rgb(color[:7]) for color in colors])
