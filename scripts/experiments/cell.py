"""One cell of a grid: a bundle run in this process, and the small JSON that is left of it.

``scripts.experiments.runner`` starts it as ``python -m scripts.experiments.cell JOB.json``.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import monai.bundle

from scripts.errors import InputError
from scripts.evaluation.finished_run import read_run
from scripts.evaluation.report import plain
from scripts.evaluation.workflow import evaluate_run
from scripts.experiments.job import ROOT, CellJob, config_files, overrides, read_job
from scripts.files import read_json, write_json
from scripts.model_card import read_card, sha256

AS_GIVEN = Path("evaluation", "validation", "summary.json")
"""The run's own evaluation, of labels as the network gives them."""
ONE_COMPONENT = Path("evaluation", "one_component", "summary.json")
"""Of labels with one component of each class, as inference gives them."""


def run_cell(job: CellJob) -> None:
    """Train, or go on with a training that was interrupted, evaluate, and write ``job.result``.

    Raises:
        InputError: the run's folder holds a run of another cell or of other settings.
    """
    _claim_folder(job)
    if not _is_evaluated(job.run_dir, AS_GIVEN):
        started = (job.run_dir / "models" / "training_state.pt").is_file()
        monai.bundle.run(
            "training",
            config_file=config_files(job.spec),
            logging_file=str(ROOT / "configs" / "logging.conf"),
            workflow_type="train",
            resume=started,
            **overrides(job),
        )
    if job.one_component and not _is_evaluated(job.run_dir, ONE_COMPONENT):
        own = {name: job.spec.settings[name] for name in ("device", "precision") if name in job.spec.settings}
        folder = (job.run_dir / ONE_COMPONENT).parent
        evaluate_run(job.run_dir, output_dir=str(folder), largest_component=True, **own)
    write_json(job.result, result(job))


def _claim_folder(job: CellJob) -> None:
    """Write down whose run the folder holds; what is there of another is neither taken for this one nor replaced."""
    record = job.run_dir / "cell.json"
    if not record.is_file() and not (job.run_dir / "run.json").is_file():
        write_json(record, job.spec.identity)
    if not record.is_file() or read_json(record) != job.spec.identity:
        raise InputError(
            f"{job.run_dir} holds a run with other settings, or nobody wrote down with which: move the folder away to run the "
            "cell anew, or give the grid another name."
        )


def _is_evaluated(run_dir: Path, evaluation: Path) -> bool:
    """Whether this evaluation of the run is there."""
    summary = run_dir / evaluation
    return (
        summary.is_file() and read_json(summary)["card"]["run_sha256"] == read_json(run_dir / "run.json")["run_sha256"]
    )


def result(job: CellJob) -> dict[str, Any]:
    """The finished run of ``job`` as a few kilobytes of plain numbers."""
    run = read_run(job.run_dir)
    card = read_card(run.model)
    history = read_json(job.run_dir / "history.json")
    environment = read_json(job.run_dir / "environment.json")
    summary = read_json(job.run_dir / AS_GIVEN)
    spec = job.spec.identity
    further = {"one_component": _structures(read_json(job.run_dir / ONE_COMPONENT))} if job.one_component else {}
    return {
        "cell": spec.pop("name"),
        **spec,
        "updates": history[-1]["update"],
        "seconds": history[-1]["seconds"],
        "commit": environment["commit"],
        "device": ", ".join(environment["devices"]) or environment["cpu"],
        "threads": None if environment["devices"] else environment["threads"],
        "packages": environment["packages"],
        "bundle_version": card.bundle_version,
        "trained_on": card.trained_on,
        "validation_sha256": sha256(run.data_list["validation"]),
        "items": {name: len(run.data_list.get(name, [])) for name in ("labeled", "unlabeled", "validation")},
        "background": card.background,
        "run_dir": f"{job.spec.grid}/{job.spec.name}",
        "best_epoch": card.scores["epoch"],
        "scores": {
            "native": _scores(summary, summary["data_set_iou"], "mean_foreground_dice"),
            "training_size": _scores(card.scores, card.class_iou, "mean_dice"),
        },
        "structures": _structures(summary),
        **further,
        "curve": [{key: row[key] for key in ("epoch", "update", *CURVE)} for row in history],
    }


CURVE = ("foreground_miou", "miou", "mean_dice")


def _structures(summary: Mapping[str, Any]) -> dict[str, Any]:
    return plain({name: summary["all"][name] for name in ("structures", "mean")})


def _scores(source: Mapping[str, Any], class_iou: Mapping[str, Any], dice: str) -> dict[str, Any]:
    means = {name: source[name] for name in ("miou", "foreground_miou")}
    return plain(means | {"mean_foreground_dice": source.get(dice), "class_iou": dict(class_iou)})


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", help="JSON of a CellJob")
    run_cell(read_job(parser.parse_args(arguments).job))


if __name__ == "__main__":
    main()
