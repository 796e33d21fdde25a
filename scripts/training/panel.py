"""What the networks make of a few validation slices: the paper's Figure 2."""

from pathlib import Path

import numpy as np
import torch
from ignite.engine import Events
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from scripts.data.slices import SliceDataset
from scripts.files import write_atomically
from scripts.labels import VOID
from scripts.training.trainer import AlternatingTrainer


class PicturePanel:
    """Draw image, truth, prediction, generated image, reconstructed image and reconstructed mask, a row a case.

    The slice of each case is the one with most labelled foreground, so that a panel shows the same slices at every epoch.

    Args:
        folder: gets ``epoch_0001.png`` and so on, and ``latest.png``.
        dataset: labelled validation slices.
        colormap: of the masks.
        x_first: whether the first axis of an array is x (volumes) or rows (photographs).
        interval: epochs between panels; the last epoch always has one.
        cases: rows.
    """

    def __init__(
        self,
        folder: str | Path,
        dataset: SliceDataset,
        colormap: ListedColormap,
        x_first: bool = True,
        interval: int = 1,
        cases: int = 4,
    ) -> None:
        self.folder = Path(folder)
        self.dataset = dataset
        self.colormap = colormap
        self.x_first = x_first
        self.interval = interval
        self.cases = cases

    def attach(self, engine: AlternatingTrainer) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._draw_if_due)

    def _draw_if_due(self, engine: AlternatingTrainer) -> None:
        epoch = engine.state.epoch
        if epoch % self.interval and epoch != engine.state.max_epochs:
            return
        figure = draw_panel(self._columns(engine), self.colormap)
        for name in (f"epoch_{epoch:04d}.png", "latest.png"):
            write_atomically(self.folder / name, lambda path: figure.savefig(path, format="png", dpi=100))

    def chosen(self) -> list[int]:
        """Index of the slice with most foreground, of each of the first cases."""
        labels, cases = self.dataset.labels, self.dataset.cases
        if labels is None:
            return []
        area = ((labels > 0) & (labels != VOID)).sum((1, 2)).cpu()
        numbers = cases.unique().tolist()[:: max(1, len(cases.unique()) // self.cases)][: self.cases]
        return [int(torch.where(cases == number, area, -1).argmax()) for number in numbers]

    @torch.no_grad()
    def _columns(self, engine: AlternatingTrainer) -> dict[str, np.ndarray]:
        """Titles and stacks, upright: images (cases, H, W[, 3]) float, masks (cases, H, W) int."""
        objective = engine.objective
        items = [self.dataset[index] for index in self.chosen()]
        image = torch.stack([item["image"] for item in items]).to(engine.state.device)
        label = torch.stack([item["label"] for item in items]).to(engine.state.device)
        objective.generators.eval()
        t = objective.translate({"image": image, "label": label, "unlabeled_image": image}, everything=True)
        columns = {"image": image, "truth": label, "prediction": t["logits"].argmax(1)}
        for title, name in (
            ("rendered mask", "rendered_label"),
            ("generated image", "generated_image"),
            ("image cycle", "reconstructed_image"),
        ):
            if name in t:
                columns[title] = t[name]
        if "reconstructed_logits" in t:
            columns["mask cycle"] = t["reconstructed_logits"].argmax(1)
        return {title: _as_array(tensor, self.x_first) for title, tensor in columns.items()}


def draw_panel(columns: dict[str, np.ndarray], colormap: ListedColormap) -> Figure:
    """A grid of pictures: a column an entry, a row a case; integer stacks are masks, coloured over black."""
    rows = len(next(iter(columns.values())))
    height, width = next(iter(columns.values())).shape[1:3]
    figure = Figure(
        figsize=(2.2 * len(columns), 2.2 * rows * height / width + 0.3), facecolor="white", layout="constrained"
    )
    grid = figure.subplots(rows, len(columns), squeeze=False)
    for column, (title, pictures) in enumerate(columns.items()):
        for row, picture in enumerate(pictures):
            axes = grid[row, column]
            axes.set_axis_off()
            if row == 0:
                axes.set_title(title, fontsize=9)
            if np.issubdtype(picture.dtype, np.integer):
                axes.imshow(np.zeros_like(picture), cmap="gray", vmin=0, vmax=1)
                axes.imshow(picture, cmap=colormap, vmin=0, vmax=colormap.N - 1, interpolation="nearest")
            else:
                axes.imshow(picture, cmap="gray")
    return figure


def _as_array(tensor: Tensor, x_first: bool) -> np.ndarray:
    """(B, C, H, W) images to their channel, or colours in [0, 1]; (B, H, W) masks with void as -1, which has no colour."""
    if tensor.ndim == 4 and tensor.shape[1] == 3:
        low, high = tensor.amin((1, 2, 3), keepdim=True), tensor.amax((1, 2, 3), keepdim=True)
        picture = ((tensor - low) / (high - low).clamp(min=1e-6)).movedim(1, -1)
    elif tensor.ndim == 4:
        picture = tensor[:, 0].float()
    else:
        picture = tensor.where(tensor != VOID, -torch.ones_like(tensor))
    return (picture.transpose(1, 2) if x_first else picture).cpu().numpy()
