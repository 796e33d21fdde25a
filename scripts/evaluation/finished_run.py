"""The folder of a training run: which model came out, on which data."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.model_card import ModelCard, sha256

SECTIONS = ("validation", "test")


@dataclass(frozen=True)
class FinishedRun:
    """What ``run.json`` in the ``output_dir`` of a training run says.

    Attributes:
        folder: the run's ``output_dir``.
        model: its ``model.pt``, with the card beside it.
        dataset_dir: where its data was.
        data_list: MONAI data list, paths relative to ``dataset_dir``.
    """

    folder: Path
    model: Path
    dataset_dir: str
    data_list: dict[str, Any]
    run_sha256: str = ""

    def output_dir(self, section: str) -> str:
        """Where the evaluation on ``section`` goes, unless told otherwise."""
        return str(self.folder / "evaluation" / str(section))

    def items(self, section: str, dataset_dir: str | Path, card: ModelCard) -> list[dict[str, str]]:
        """Cases of ``section`` with the absolute paths ``image`` and ``label``, ``patient``, ``phase`` and ``name``,
        the image's path in the list.

        Args:
            section: "validation" or "test".
            dataset_dir: where the data is now.
            card: of the model; it must come from this data list, else it may have been trained on these cases.

        Raises:
            InputError: another section, an empty one, files that are not there, a model of another data list.
        """
        if section not in SECTIONS:
            raise InputError(f"--section must be one of {', '.join(SECTIONS)}, got {section!r}.")
        if card.data_list_sha256 != sha256(self.data_list):
            raise InputError(
                f"{self.model} was trained with another data list than the one in {self.folder}, so it may know the "
                "cases that it would be evaluated on. A later run has probably written its model to the same ckpt_dir: "
                "evaluate that run's folder, or train this one again with a ckpt_dir of its own."
            )
        if self.run_sha256 and card.run_sha256 and card.run_sha256 != self.run_sha256:
            raise InputError(
                f"{self.model} is of another run than {self.folder}: a later run has written its model to the same ckpt_dir. "
                "Evaluate that run's folder, or train this one again with a ckpt_dir of its own."
            )
        listed = self.data_list.get(section) or []
        if not listed:
            raise InputError(self._why_empty(section))
        root = Path(str(dataset_dir))
        _check_files(listed, root, section)
        files = [{key: str(root / item[key]) for key in ("image", "label")} for item in listed]
        described = [{"patient": item.get("patient", item["image"]), "phase": item.get("phase", "")} for item in listed]
        names = [{"name": item["image"]} for item in listed]
        return [a | b | c for a, b, c in zip(files, described, names, strict=True)]

    def patients(self, section: str) -> list[str]:
        """All patients of ``section`` by the split, also those whose files were absent when the run began; images where
        nobody said whose they are."""
        listed = [item.get("patient", item["image"]) for item in self.data_list.get(section, [])]
        return list((self.data_list.get("patients") or {}).get(section) or dict.fromkeys(listed))

    def _why_empty(self, section: str) -> str:
        if absent := self.patients(section):
            return (
                f"the {section} section of {self.folder}'s data list is empty: its split names {len(absent)} {section} "
                "patients, but dataset_dir held none of them when the run began. Give training a dataset_dir that "
                "holds them."
            )
        return (
            f"the {section} section of {self.folder}'s data list is empty: the run's split names no {section} patient. "
            f"Train with a --split that has {section} patients, or give another --section."
        )


def read_run(run_dir: str | Path | None) -> FinishedRun:
    """Read ``run.json`` and the data list of a training run.

    Raises:
        InputError: no folder given, not the folder of a run, or without a model.
    """
    if run_dir is None:
        raise InputError("no run_dir was given: expected --run_dir DIR, the output_dir of a training run.")
    folder = Path(str(run_dir)).absolute()
    record = _read_json(folder / "run.json", folder)
    try:
        model, list_file, dataset_dir = (str(record[key]) for key in ("model", "data_list", "dataset_dir"))
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{folder / 'run.json'} lacks {error}: it was not written by this bundle's training."
        ) from error
    data_list = _read_json(folder / list_file, folder)
    if not isinstance(data_list, dict):
        raise InputError(f"{folder / list_file} is no data list: expected the sections {', '.join(SECTIONS)}.")
    path = (folder / model).resolve()
    if not path.is_file():
        raise InputError(
            f"the run in {folder} has no model: {path} is not there. Training writes it after its first validation: "
            "let it get that far, continue it with --resume true, or put the file back if it was moved."
        )
    return FinishedRun(folder, path, dataset_dir, data_list, str(record.get("run_sha256", "")))


def _read_json(path: Path, folder: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = "is not there" if not path.exists() else f"cannot be read ({error})"
        raise InputError(
            f"--run_dir {folder} is not the folder of a training run: {path} {what}. Expected the output_dir of "
            "python -m monai.bundle run training, which holds run.json and data_list.json."
        ) from error


def _check_files(items: list[dict], root: Path, section: str) -> None:
    unlabeled = [item["image"] for item in items if "label" not in item]
    if unlabeled:
        raise InputError(
            f"{len(unlabeled)} of {len(items)} {section} cases have no label, the first is {unlabeled[0]}: evaluation "
            "compares with labels, give each case one in the data list."
        )
    missing = [root / item[key] for item in items for key in ("image", "label") if not (root / item[key]).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {2 * len(items)} files of the {section} section are not in dataset_dir {root}; the first "
            f"is {missing[0]}. If the data was moved since training, give its folder as --dataset_dir."
        )
