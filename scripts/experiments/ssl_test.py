"""Scores of a finished cell on test patients that had no part in it."""

import json
from pathlib import Path
from typing import Any

import torch

from scripts.data.acdc import find_patients, frames_of
from scripts.errors import InputError
from scripts.evaluation.cases import EvaluationPreprocessing
from scripts.evaluation.report import CaseScores, plain, summarize
from scripts.evaluation.scores import case_scores
from scripts.experiments.job import CellJob
from scripts.files import write_json
from scripts.model_card import load_model
from scripts.networks.padding import PadToMultiple
from scripts.prediction import NativeLabelsd, StackInferer


def add_test_scores(job: CellJob, test_dir: Path) -> None:
    """Score the model that the validation patients chose on all patients of ``test_dir``, and write that into ``job.result``;
    nothing if it is there.

    Raises:
        InputError: a patient of training or validation in ``test_dir``; the run's folder is gone.
    """
    path = Path(job.result)
    cell = json.loads(path.read_text(encoding="utf-8"))
    if "test" in cell:
        return
    if not (job.run_dir / "run.json").is_file():
        raise InputError(
            f"{job.run_dir} is not there, so the model of {job.spec.name} cannot be tested: run the cell anew (move {path} away)."
        )
    known = json.loads((job.run_dir / "data_list.json").read_text(encoding="utf-8"))
    used = {item["patient"] for section in ("labeled", "unlabeled", "validation") for item in known[section]}
    precision = job.spec.settings.get("precision", "auto")
    found = scores(job.run_dir / "models" / "model.pt", test_dir, used, precision)
    write_json(path, cell | {"test": plain(found)})


def scores(model: Path, test_dir: Path, used: set[str], precision: str = "auto") -> dict[str, Any]:
    """Means over cases and structures: ``cases``, ``structures`` and ``mean``, as ``summary.json`` has them under "all".
    ``precision``: that of the run, in which its validation patients were scored."""
    patients = find_patients(test_dir)
    if both := sorted(used & set(patients)):
        raise InputError(
            f"{len(both)} patients of --test_dir {test_dir} were trained on or chose the model, {both[0]} among them: give a folder "
            "of others."
        )
    network, card = load_model(model)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    padded, infer = PadToMultiple(network).to(device).eval(), StackInferer(precision=precision)
    grid: Any = card.grid  # of volumes
    classes = len(card.class_names)
    preprocessing = EvaluationPreprocessing(grid, classes)
    to_labels = NativeLabelsd(classes, largest_component=False)  # as validation is scored
    cases = []
    with torch.inference_mode():
        for patient in patients.values():
            for item in frames_of(patient, test_dir, labels=True):
                item = item | {key: str(test_dir / item[key]) for key in ("image", "label")}
                frame = preprocessing(item)
                probabilities = infer(frame["image"][None].to(device), padded)[0].cpu()
                predicted = to_labels({"pred": probabilities, "image": frame["image"]})["pred"].as_tensor()[0]
                label, spacing = frame["label"].as_tensor()[0], frame["acquired"].pixdim.tolist()
                found = case_scores(predicted, label, spacing, classes)
                cases.append(CaseScores(patient.name, item["phase"], item["image"], *found))
    return summarize(cases, card.class_names)["all"]
