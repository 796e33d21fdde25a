"""From predicted volumes to the tables and pictures of a finished run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from scripts.configuration import make_folder
from scripts.evaluation.finished_run import FinishedRun
from scripts.evaluation.page import markdown
from scripts.evaluation.pictures import CasePicture, case_picture, draw_case
from scripts.evaluation.report import CaseScores, plain, summarize, table
from scripts.evaluation.scores import case_scores
from scripts.files import write_atomically, write_json
from scripts.model_card import ModelCard

logger = logging.getLogger(__name__)


class Evaluation:
    """Score every case of an evaluator and write the report when it is done.

    Attach to the evaluator; its batches are those of ``cases.EvaluationPreprocessing`` and its postprocessing ends
    with labels on the acquired grid (``NativeLabelsd``). Writes ``cases.csv``, ``summary.json``, ``summary.md`` and the
    pictures ``worst.png``, ``median.png`` and ``best.png`` (by mean foreground Dice) to ``output_dir``, prints the page
    and leaves the means in ``engine.state.metrics``.

    Args:
        output_dir: made if it is not there.
        run: the evaluated run. card: of its model. model: the file.
        section: of the run's data list. dataset_dir: where the data was read.
        largest_component: whether the predictions were reduced to it. likelihood: with what exponent the image counted. Both for
            the record.

    Raises:
        InputError: ``output_dir`` cannot be written.
    """

    def __init__(
        self,
        output_dir: str | Path,
        run: FinishedRun,
        card: ModelCard,
        model: str | Path,
        section: str,
        dataset_dir: str | Path,
        largest_component: bool,
        likelihood: float,
    ) -> None:
        self.output_dir = make_folder(output_dir, "output_dir")
        self.class_names = card.class_names
        self.about = {
            "data_set": run.data_list.get("name", "data set"),
            "section": section,
            "split": run.data_list.get("description", ""),
            "patients_of_section": len(run.patients(section)),
            "trained_patients": {name: len(run.patients(name)) for name in ("labeled", "unlabeled")},
            "run_dir": str(run.folder),
            "dataset_dir": str(dataset_dir),
            "model": str(model),
            "card": asdict(card),
            "largest_component": largest_component,
            "likelihood": likelihood,
        }
        self.cases: list[CaseScores] = []
        self.drawn: list[CasePicture] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self._report)

    def _begin(self, engine: Engine) -> None:
        self.cases, self.drawn = [], []

    def _score(self, engine: Engine) -> None:
        batch: Any = engine.state.batch
        outputs: Any = engine.state.output
        for item, output in zip(batch, outputs, strict=True):
            spacing = item["acquired"].pixdim.tolist()
            image, prediction, label = (
                volume.as_tensor()[0].cpu() for volume in (item["acquired"], output["pred"], item["label"])
            )
            scores = case_scores(prediction, label, spacing, len(self.class_names))
            case = CaseScores(item["patient"], item["phase"], item["name"], *scores)
            self.cases.append(case)
            self.drawn.append(case_picture(image.numpy(), prediction.byte().numpy(), label.byte().numpy(), spacing))
            logger.info("%s: mean foreground Dice %.3f", case.title, case.mean_dice)

    def _report(self, engine: Engine) -> None:
        order = sorted(range(len(self.cases)), key=lambda index: self.cases[index].mean_dice)
        chosen = {"worst": order[0], "median": order[(len(order) - 1) // 2], "best": order[-1]}
        ranked = [self.cases[index] for index in order]
        summary = self.about | summarize(self.cases, self.class_names)
        summary |= {
            "case_count": len(self.cases),
            "patients": list(dict.fromkeys(case.patient for case in self.cases)),
            "pictures": {name: self.cases[index].title for name, index in chosen.items()},
            "ranking": [self._ranked(case) for case in ranked],
        }
        engine.state.metrics |= {key: summary[key] for key in ("mean_foreground_dice", "foreground_miou", "miou")}
        self._write(summary, chosen)

    def _ranked(self, case: CaseScores) -> dict[str, Any]:
        dice = dict(zip(self.class_names[1:], (scores.dice for scores in case.structures), strict=True))
        return {"case": case.title, "mean_dice": case.mean_dice, "dice": dice}

    def _write(self, summary: Mapping[str, Any], chosen: Mapping[str, int]) -> None:
        page = markdown(summary)
        frame = table(self.cases, self.class_names)
        write_atomically(self.output_dir / "cases.csv", lambda path: frame.to_csv(path, index=False))
        for name, index in chosen.items():
            self._draw(name, self.cases[index], self.drawn[index])
        write_atomically(self.output_dir / "summary.md", lambda path: path.write_text(page, encoding="utf-8"))
        write_json(self.output_dir / "summary.json", plain(summary))
        print(f"\n{page}\nWritten to {self.output_dir}: summary.md, summary.json, cases.csv, {_files(list(chosen))}")

    def _draw(self, name: str, case: CaseScores, picture: CasePicture) -> None:
        names = self.class_names[1:]
        dice = ", ".join(f"{n} {scores.dice:.2f}" for n, scores in zip(names, case.structures, strict=True))
        title = f"{name.capitalize()} case: {case.title}, mean foreground Dice {case.mean_dice:.2f}\nDice: {dice}"
        if picture.outside >= 0.005:
            title += f"; {picture.outside:.0%} of the prediction lies outside this view"
        draw_case(picture, self.output_dir / f"{name}.png", title, self.class_names)


def _files(names: Sequence[str]) -> str:
    return ", ".join(f"{name}.png" for name in names)
