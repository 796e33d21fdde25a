"""Scores of a finished cell on patients that chose nothing: test patients, or the unlabelled ones, whose labels no run is shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from scripts.data.acdc import Patient, find_patients, frames_of
from scripts.errors import InputError
from scripts.evaluation.cases import EvaluationPreprocessing
from scripts.evaluation.report import CaseScores, plain, summarize
from scripts.evaluation.scores import case_scores
from scripts.experiments.job import CellJob
from scripts.files import read_json, write_json
from scripts.model_card import load_model
from scripts.networks.padding import PadToMultiple
from scripts.prediction import NativeLabelsd, StackInferer


def patients_of(test_dir: Path, split: Mapping[str, Sequence[str]]) -> list[Patient]:
    """The patients of ``test_dir`` to be tested: the test patients of ``split`` that are there, or all if none is.

    Args:
        test_dir: of ACDC's layout, with labels.
        split: names of patients by section, ``labeled``, ``unlabeled``, ``validation`` and ``test``.

    Raises:
        InputError: no patient, frame or label; patients of training or validation.
    """
    try:
        found = find_patients(test_dir)
    except InputError as error:
        raise InputError(f"--test_dir {test_dir} cannot be used: {error}") from error
    chosen = [found[name] for name in split.get("test", ()) if name in found] or list(found.values())
    _refuse_used([patient.name for patient in chosen], split, test_dir)
    _refuse_without_labels(chosen, f"--test_dir {test_dir}")
    return chosen


def withheld(dataset_dir: Path, split: Mapping[str, Sequence[str]]) -> list[Patient]:
    """The unlabelled patients of ``split``, whose labels are withheld from every run; some arms are trained on their images.

    Raises:
        InputError: none, or one that lacks a frame or a label.
    """
    found = find_patients(dataset_dir)
    chosen = [found[name] for name in split.get("unlabeled", ())]
    if not chosen:
        raise InputError("--withheld: no patient is unlabelled, so no label is withheld.")
    _refuse_without_labels(chosen, f"--withheld, {dataset_dir}")
    return chosen


def _refuse_without_labels(patients: Sequence[Patient], where: str) -> None:
    for patient in patients:
        if not patient.frames or not all(patient.label(frame).is_file() for frame in patient.frames):
            raise InputError(
                f"{where}: {patient.name} lacks a labelled frame, {patient.name}_frameNN.nii.gz with "
                f"{patient.name}_frameNN_gt.nii.gz: add it, or take the patient out."
            )


def _refuse_used(names: Sequence[str], split: Mapping[str, Sequence[str]], test_dir: Path) -> None:
    used = {name for section, patients in split.items() if section != "test" for name in patients}
    if both := sorted(used & set(names)):
        raise InputError(
            f"{len(both)} patients of --test_dir {test_dir} were trained on or chose the model, {both[0]} among them: give a folder "
            "of others."
        )


def is_scored(job: CellJob, section: str, patients: Sequence[Patient]) -> bool:
    """Whether ``job.result`` has scores of these patients, with one component, too; ``section``: "test" or "unlabeled"."""
    scored = read_json(job.result).get(section, {})
    return "one_component" in scored and scored["patients"] == _names(patients)


def add_scores(job: CellJob, section: str, root: Path, patients: Sequence[Patient]) -> None:
    """Score the model that the validation patients chose on ``patients`` of ``root``, and write that into ``job.result``.

    Args:
        section: "test", or "unlabeled" for patients whose labels were withheld.

    Raises:
        InputError: the run's folder is gone; a test patient was trained on, or an unlabelled one was none.
    """
    if not (job.run_dir / "run.json").is_file():
        raise InputError(
            f"{job.run_dir} is not there, so the model of {job.spec.name} cannot be scored: run the cell anew (move {job.result} away)."
        )
    names = _names(patients)
    split = read_json(job.run_dir / "data_list.json")["patients"]
    if section == "test":
        _refuse_used(names, split, root)
    elif unknown := sorted(set(names) - set(split["unlabeled"])):
        raise InputError(f"{unknown[0]} was not unlabelled in {job.run_dir}: give the run's own data and split.")
    precision = job.spec.settings.get("precision", "auto")
    found = scores(job.run_dir / "models" / "model.pt", root, patients, precision)
    write_json(job.result, read_json(job.result) | {section: plain(found) | {"patients": names}})


def _names(patients: Sequence[Patient]) -> list[str]:
    return sorted(patient.name for patient in patients)


def scores(model: Path, root: Path, patients: Sequence[Patient], precision: str = "auto") -> dict[str, Any]:
    """Means over cases and structures: ``cases``, ``structures`` and ``mean``, as ``summary.json`` has them under "all", of labels as
    the network gives them; and under ``one_component`` the same of labels as inference gives them, with one component of each class.

    Args:
        root: a folder that holds the ``patients``.
        precision: that of the run, in which its validation patients were scored.
    """
    network, card = load_model(model)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    padded, infer = PadToMultiple(network).to(device).eval(), StackInferer(precision=precision)
    grid: Any = card.grid  # of volumes
    classes = len(card.class_names)
    preprocessing = EvaluationPreprocessing(grid, classes)
    ways = [NativeLabelsd(classes, largest_component=one) for one in (False, True)]
    cases: list[list[CaseScores]] = [[], []]
    with torch.inference_mode():
        for patient in patients:
            for item in frames_of(patient, root, labels=True):
                item = item | {key: str(root / item[key]) for key in ("image", "label")}
                frame = preprocessing(item)
                probabilities = infer(frame["image"][None].to(device), padded)[0].cpu()
                label, spacing = frame["label"].as_tensor()[0], frame["acquired"].pixdim.tolist()
                for to_labels, found in zip(ways, cases, strict=True):
                    predicted = to_labels({"pred": probabilities, "image": frame["image"]})["pred"].as_tensor()[0]
                    of_case = case_scores(predicted, label, spacing, classes)
                    found.append(CaseScores(patient.name, item["phase"], item["image"], *of_case))
    as_given, one_component = (summarize(found, card.class_names)["all"] for found in cases)
    return as_given | {"one_component": one_component}
