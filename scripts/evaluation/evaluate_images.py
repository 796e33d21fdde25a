"""From predicted photographs to the tables and pictures of a finished run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from ignite.engine import Engine, Events
from torch import Tensor

from scripts.configuration import make_folder
from scripts.errors import InputError
from scripts.evaluation.finished_run import FinishedRun
from scripts.evaluation.image_page import markdown
from scripts.evaluation.image_pictures import draw_image
from scripts.evaluation.report import plain
from scripts.files import write_atomically, write_json
from scripts.image_prediction import ONE_SHADE
from scripts.metrics import confusion_matrix, dice, iou, mean_iou
from scripts.model_card import ModelCard

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageScores:
    """The scores of one image.

    Attributes:
        name: its path in the data list. index: its place in the data set.
        native, small: confusion matrices (K, K) int64 at the size of the file and at the networks'.
        small_prediction: (H, W) uint8.
    """

    name: str
    index: int
    native: Tensor
    small: Tensor
    small_prediction: Tensor

    def mean_iou(self, background: bool) -> float:
        """At the size of the file, over the classes in truth or prediction; 1 if there is none but background."""
        value = mean_iou(self.native, foreground_only=background)
        return value if value == value else 1.0


class ImageEvaluation:
    """Score every image of an evaluator and write the report when it is done.

    Attach to the evaluator; its batches are those of ``image_cases.ImageEvaluationPreprocessing``, one image each, and
    its postprocessing ends with ``ImageLabelsd``. Writes ``cases.csv``, ``summary.json``, ``summary.md`` and the pictures
    ``worst.png``, ``median.png`` and ``best.png`` to ``output_dir``, prints the page and leaves the means in
    ``engine.state.metrics``. Arguments as of ``evaluate.Evaluation``.

    Raises:
        InputError: ``output_dir`` cannot be written; ``largest_component`` or ``likelihood``, which are for volumes.
    """

    def __init__(
        self,
        output_dir: str | Path,
        run: FinishedRun,
        card: ModelCard,
        model: str | Path,
        section: str,
        dataset_dir: str | Path,
        largest_component: bool = False,
        likelihood: float = 0.0,
    ) -> None:
        if largest_component:
            raise InputError("--largest_component is for volumes: a photograph may show a class in several pieces.")
        if likelihood:
            raise InputError(ONE_SHADE)
        self.output_dir = make_folder(output_dir, "output_dir")
        self.card = card
        self.about = {
            "data_set": run.data_list.get("name", "data set"),
            "section": section,
            "split": run.data_list.get("description", ""),
            "trained_images": {name: len(run.data_list.get(name, [])) for name in ("labeled", "unlabeled")},
            "run_dir": str(run.folder),
            "dataset_dir": str(dataset_dir),
            "model": str(model),
            "card": asdict(card),
        }
        self.images: list[ImageScores] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self._report)

    def _begin(self, engine: Engine) -> None:
        self.images = []

    def _score(self, engine: Engine) -> None:
        batch: Any = engine.state.batch
        outputs: Any = engine.state.output
        count = len(self.card.class_names)
        for item, output in zip(batch, outputs, strict=True):
            pairs = ((output["pred"], output["label"]), (output["small_pred"], item["small_label"]))
            native, small = (confusion_matrix(_whole(made), _whole(true), count) for made, true in pairs)
            prediction = _whole(output["small_pred"])[0].byte()
            self.images.append(ImageScores(item["name"], len(self.images), native, small, prediction))

    def _report(self, engine: Engine) -> None:
        background = self.card.background
        ranked = sorted(self.images, key=lambda image: image.mean_iou(background))
        chosen = {"worst": ranked[0], "median": ranked[(len(ranked) - 1) // 2], "best": ranked[-1]}
        summary: dict[str, Any] = self.about | {
            **self._sums([image.native for image in self.images]),
            "training_size": self._sums([image.small for image in self.images]),
            "case_count": len(self.images),
            "pictures": {name: image.name for name, image in chosen.items()},
            "ranking": [{"case": image.name, "miou": image.mean_iou(background)} for image in ranked],
        }
        engine.state.metrics |= {key: summary[key] for key in ("foreground_miou", "miou", "mean_foreground_dice")}
        for name, image in chosen.items():
            self._draw(engine, name, image)
        page = markdown(summary)
        table = self._table()
        write_atomically(self.output_dir / "cases.csv", lambda path: table.to_csv(path, index=False))
        write_atomically(self.output_dir / "summary.md", lambda path: path.write_text(page, encoding="utf-8"))
        write_json(self.output_dir / "summary.json", plain(summary))
        print(
            f"\n{page}\nWritten to {self.output_dir}: summary.md, summary.json, cases.csv, worst, median and best.png"
        )

    def _sums(self, matrices: Sequence[Tensor]) -> dict[str, Any]:
        """Data-set-level scores of confusion matrices, and the mean Dice over images and the classes in them."""
        total = torch.stack(list(matrices)).sum(0)
        first = int(self.card.background)
        per_class = iou(total).tolist()
        return {
            "foreground_miou": mean_iou(total, foreground_only=self.card.background),
            "miou": mean_iou(total),
            "pixel_accuracy": float(total.diag().sum() / total.sum().clamp(min=1)),
            "mean_foreground_dice": float(torch.stack([dice(matrix)[first:] for matrix in matrices]).nanmean()),
            "data_set_iou": dict(zip(self.card.class_names, per_class, strict=True)),
        }

    def _table(self) -> pd.DataFrame:
        """A row an image: its mean IoU and that of each class."""
        rows = [
            {"image": image.name, "miou": image.mean_iou(self.card.background)}
            | dict(zip(self.card.class_names, iou(image.native).tolist(), strict=True))
            for image in self.images
        ]
        return pd.DataFrame(rows)

    def _draw(self, engine: Engine, name: str, image: ImageScores) -> None:
        loader: Any = engine.state.dataloader
        item: Mapping[str, Any] = loader.dataset[image.index]
        score = f"mIoU {image.mean_iou(self.card.background):.2f}"
        draw_image(
            self.output_dir / f"{name}.png",
            f"{name.capitalize()} image: {image.name}, {score}",
            item["image"].numpy(),
            item["small_label"][0].numpy(),
            image.small_prediction.numpy(),
            self.card,
        )


def _whole(tensor: Any) -> Tensor:
    return torch.as_tensor(tensor).as_subclass(Tensor).long().cpu()
