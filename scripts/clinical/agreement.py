"""How well a trained model measures hearts: its labels and the quantities from them against the reference labels.

    python -m scripts.clinical.agreement --run_dir RUN --output_dir OUT

RUN is the output_dir of a finished training; the ED and ES frames of one section of its data list are predicted and
compared on the acquired grid. Written to OUT: agreement.md, agreement.json, agreement.csv (a row a patient and
quantity), bland_altman.png and scatter.png. The exit code is 0; 1 if there is no result, with the reason in one
paragraph.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import nn

from scripts.clinical.agreement_figures import SHORT, write_figures
from scripts.clinical.agreement_tables import PHASES, Frame, overlaps, paired_values, summarize
from scripts.clinical.function import QUANTITIES
from scripts.clinical.structures import Structures
from scripts.configuration import make_folder
from scripts.data.acdc import read_patient
from scripts.data.preprocessing import SliceGrid
from scripts.errors import InputError, exit_code_of
from scripts.evaluation.cases import EvaluationPreprocessing
from scripts.evaluation.finished_run import FinishedRun, read_run
from scripts.evaluation.page import ONE_COMPONENT, markdown_number, markdown_table
from scripts.evaluation.report import plain
from scripts.files import write_atomically, write_json
from scripts.model_card import ModelCard, load_model
from scripts.networks.padding import PadToMultiple
from scripts.prediction import NativeLabelsd, StackInferer

METHOD = (
    "Measured on the acquired grid, in 3-D.",
    ONE_COMPONENT,
    "The Hausdorff distance is the maximum, with no percentile; ± is the standard deviation over n frames (n - 1). A "
    "structure in neither truth nor prediction has Dice 1 and distance 0; one in only one of them has Dice 0 and no "
    "distance, and is counted as missed (in the truth only) or invented (in the prediction only).",
    "ED and ES are the frames that the data names. Volumes are voxels x voxel size; mass is 1.05 g/mL x myocardium at ED.",
    "Bias is the mean of prediction minus truth, sd that of these differences (n - 1), the limits of agreement are bias "
    "± 1.96 sd, MAE is the mean absolute error, r is Pearson's. A dash: too few values (2 for an sd, 3 for r).",
)
CHOSEN_HERE = "The model was chosen by its scores on this section, which are therefore somewhat too good."
FILES = ("agreement.md", "agreement.json", "agreement.csv", "bland_altman.png", "scatter.png")


def parser() -> argparse.ArgumentParser:
    known = argparse.ArgumentParser(
        prog="python -m scripts.clinical.agreement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known.add_argument("--run_dir", required=True, help="the output_dir of a training run")
    known.add_argument("--section", default="validation", help="of its data list: validation (default) or test")
    known.add_argument("--dataset_dir", help="where the data is now; default: where it was in training")
    known.add_argument("--output_dir", required=True, help="the folder to write to")
    return known


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, write and print; the exit code."""
    chosen = parser().parse_args(arguments)

    def compare() -> int:
        print(write_agreement(chosen.run_dir, chosen.output_dir, chosen.section, chosen.dataset_dir))
        print(f"Written to {chosen.output_dir}: {', '.join(FILES)}")
        return 0

    return exit_code_of(compare)


def write_agreement(
    run_dir: str | Path, output_dir: str | Path, section: str = "validation", dataset_dir: str | Path | None = None
) -> str:
    """Compare the model of a finished training with the reference labels of ``section``, and write ``FILES``.

    Args:
        run_dir: the training's output_dir.
        output_dir: made if it is not there; a former result in it is replaced.
        section: "validation" or "test".
        dataset_dir: where the data is now; None: where it was in training.

    Returns:
        The page of Markdown.

    Raises:
        InputError: not a run, an empty section, files that are not there, a model of photographs or of other
            structures, frames that are not ED and ES, a folder that cannot be written; nothing is written then.
    """
    run = read_run(run_dir)
    network, card = load_model(run.model)
    structures = Structures.from_names(card.structures or card.class_names)
    items = run.items(section, dataset_dir or run.dataset_dir, card)
    check_phases(items)
    folder = make_folder(output_dir, "output_dir")
    frames = list(predicted_frames(items, network, card, structures, run.data_list.get("label_map")))
    summary = _about(run, card, section) | summarize(frames)
    page, pairs = markdown(summary), paired_values(frames)
    write_figures(pairs, summary["function"], folder)
    write_atomically(folder / "agreement.csv", lambda path: pairs.to_csv(path, index=False))
    write_atomically(folder / "agreement.md", lambda path: path.write_text(page, encoding="utf-8"))
    write_json(folder / "agreement.json", plain(summary))
    return page


def check_phases(items: Sequence[Mapping[str, str]]) -> None:
    """See that the frames are those of ED and ES, each at most once a patient.

    Raises:
        InputError: if not.
    """
    other = sum(item["phase"] not in PHASES for item in items)
    if other:
        raise InputError(
            f"{other} of {len(items)} frames of the section are neither ED nor ES by the data list's phase: volumes and "
            "ejection fraction need both. Give a run on ACDC or on data in its layout (python -m scripts.data.phantom "
            "writes some)."
        )
    twice = sum(count > 1 for count in Counter((item["patient"], item["phase"]) for item in items).values())
    if twice:
        raise InputError(
            f"{twice} patients of the section have more than one frame of the same phase: expected one ED and one ES "
            "frame each. Correct ED in their Info.cfg, which says which frame is which, and train again."
        )


def predicted_frames(
    items: Sequence[Mapping[str, str]],
    network: nn.Module,
    card: ModelCard,
    structures: Structures,
    label_map: Mapping[str, int] | None = None,
) -> Iterator[Frame]:
    """Predict and compare frame by frame, so that memory does not grow with their number.

    Args:
        items: of ``FinishedRun.items``.
        network: (b, 1, H, W) to logits (b, K, H, W), in evaluation mode; K classes of ``card``.
        structures: the label values.
        label_map: see ``scripts.data.label_values.mapped``.

    Raises:
        InputError: a model of photographs; an image or label that cannot be used.
    """
    if not isinstance(card.grid, SliceGrid):
        raise InputError("the model is one of photographs, and agreement needs one of volumes: give another --run_dir.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    padded = PadToMultiple(network).to(device).eval()
    classes = len(card.class_names)
    preprocessing, to_labels = EvaluationPreprocessing(card.grid, classes, label_map), NativeLabelsd(classes)
    infer = StackInferer()
    with Progress(transient=True) as progress, torch.inference_mode():
        for item in progress.track(items, description="Comparing"):
            paths: Any = item
            frame = preprocessing(paths)
            probabilities = infer(frame["image"][None].to(device), padded)[0]
            labels = to_labels({"pred": probabilities, "image": frame["image"]})["pred"]
            predicted, true = (volume.as_tensor()[0].cpu().numpy() for volume in (labels, frame["label"]))
            spacing = frame["acquired"].pixdim.tolist()
            compared = overlaps(predicted, true, spacing, structures)
            yield Frame(item["patient"], item["phase"], pathology_group(item["image"]), compared)


def pathology_group(image: str | Path) -> str:
    """``Group`` of the ``Info.cfg`` beside an image, "" if there is none."""
    return read_patient(Path(image).parent).info.get("Group", "")


def markdown(summary: Mapping[str, Any]) -> str:
    """The page: ``agreement_tables.summarize`` with what is said about data and model."""
    complete, patients = summary["patients_with_both_phases"], summary["patients"]
    counted = f"{patients} patients, {summary['frames']} frames"
    if patients < summary["patients_of_section"]:
        counted += f" (of the section's {summary['patients_of_section']} patients; the others' files were absent)"
    if complete < patients:
        counted += f"; {patients - complete} of them lack ED or ES and have no volumes and ejection fraction"
    parts = [
        f"# Agreement with reference: {summary['data_set']}, {summary['section']} section",
        f"{counted}. Model: {summary['model']}, trained on {summary['trained_on']}.",
        "## Labels",
        _overlap_table(summary["overlap"]),
        "## Quantities",
        _function_table("all", summary),
        *(_function_table(name, part) for name, part in summary["groups"].items()),
        "![Bland-Altman plots](bland_altman.png)\n![Prediction over truth](scatter.png)",
        "\n".join(f"- {line}" for line in (*METHOD, *([CHOSEN_HERE] if summary["section"] == "validation" else []))),
    ]
    return "\n\n".join(parts) + "\n"


def _about(run: FinishedRun, card: ModelCard, section: str) -> dict[str, Any]:
    return {
        "data_set": run.data_list.get("name", "data set"),
        "section": section,
        "patients_of_section": len(run.patients(section)),
        "model": run.model.name,
        "weights_sha256": card.weights_sha256,
        "trained_on": card.trained_on,
        "method": list(METHOD),
    }


def _overlap_table(table: Mapping[str, Any]) -> str:
    header = ["structure", "phase", "n", "Dice", "Hausdorff (mm)", "n", "missed", "invented"]
    rows = []
    for name, phases in table.items():
        for phase, row in phases.items():
            dice, distance = (
                f"{_n(row[k]['mean'], d)} ± {_n(row[k]['sd'], d)}" for k, d in (("dice", 3), ("hausdorff_mm", 1))
            )
            counts = [str(row[key]) for key in ("missed", "invented")]
            title = name.upper() if name in ("lv", "rv") else name
            rows.append([title, phase, str(row["n"]), dice, distance, str(row["hausdorff_mm"]["n"]), *counts])
    return markdown_table(header, rows)


def _function_table(title: str, part: Mapping[str, Any]) -> str:
    patients = f"{part['patients']} {'patient' if part['patients'] == 1 else 'patients'}"
    header = [f"{title} ({patients})", "n", "truth", "predicted", "r", "bias", "sd", "limits", "MAE"]
    rows = []
    for key, row in part["function"].items():
        truth, predicted, bias, sd, lower, upper, error = (
            _n(row[name], 1)
            for name in ("truth_mean", "predicted_mean", "bias", "sd", "lower", "upper", "mean_absolute_error")
        )
        limits = "-" if lower == "-" else f"{lower} to {upper}"
        name = f"{SHORT[key]} ({QUANTITIES[key][1]})"
        rows.append([name, str(row["n"]), truth, predicted, _n(row["correlation"], 3), bias, sd, limits, error])
    return markdown_table(header, rows)


_n = markdown_number


if __name__ == "__main__":
    sys.exit(main())
