"""The common protocol of semi-supervised segmentation on ACDC, beside the published numbers.

python -m scripts.experiments.ssl_benchmark --dataset_dir ACDC --labeled_patients 3 --method supervised "mean teacher" --seeds 0 1 2

70 training patients of which the first 1, 3, 7 or 14 of the published order are labelled, 10 validation patients that choose the
epoch, 20 test patients that choose nothing (SSL4MIS). Arms are those of ssl_arms.json; all take as many updates. --scale small
is 128 x 128 pixels at 2.25 mm with a U-Net of 1.9 M parameters, for a CPU; --scale full is 192 x 192 at 1.5 mm with one of 7.8
M, for a GPU. With --seconds the command stops in time, saves, and goes on where it was when it is given again. Cells that are
finished are kept as small JSON files and not run again; the table is of all that are there.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.data.acdc import Patient, data_list
from scripts.errors import InputError, exit_code_of
from scripts.experiments.grid import Arm, CellSpec, cell_name
from scripts.experiments.job import ROOT, CellJob
from scripts.experiments.paper import settings, slots
from scripts.experiments.ssl_report import write_report
from scripts.experiments.ssl_scores import add_scores, is_scored, patients_of, withheld

ARMS_FILE = Path(__file__).with_name("ssl_arms.json")
SPLIT = "scripts/data/splits/acdc_ssl4mis.json"
TRAINING_PATIENTS = 70
LABELED_PATIENTS = (1, 3, 7, 14)
COMMON: dict[str, Any] = {
    "split": SPLIT,
    "labeled_fraction": None,
    "optimizer#betas": [0.9, 0.999],
    "learning_rate": 0.001,
}
SCALES: dict[str, dict[str, Any]] = {
    "small": {
        "spacing": [2.25, 2.25],
        "size": [128, 128],
        "batch_size": 4,
        "max_epochs": 5,
        "val_interval": 1,
        "precision": "bfloat16",
    },
    "full": {
        "spacing": [1.5, 1.5],
        "size": [192, 192],
        "batch_size": 12,
        "max_epochs": 200,
        "val_interval": 5,
    },
}
"""Settings of ``configs/train.json``. An epoch is all training slices once, labelled or not."""
UNET = "configs/network_unet.json"
OF_UNET: dict[str, dict[str, Any]] = {"small": {}, "full": {"unet_features": [32, 64, 128, 256, 512, 32]}}
"""Further settings of the arms that have this network."""
DEFAULT_METHODS = ("supervised", "mean teacher", "cycle teacher")
OPTIONS = {
    "labeled_patients": "--labeled_patients",
    "seed": "--seeds",
    "max_epochs": "--max_epochs",
    "epoch_length": "--max_epochs",
}
"""What a cell's or a grid's name says, and the option that sets it."""
TIME_IS_OVER = 3
"""Exit code where ``--seconds`` ended before everything was done."""


def read_arms(scale: str = "small") -> dict[str, Arm]:
    """The arms of ``ssl_arms.json``, by name, each with its own settings of ``scale`` where it has some; an arm ``of`` another, which
    stands before it, is that one with further settings."""
    arms: dict[str, Arm] = {}
    for name, arm in json.loads(ARMS_FILE.read_text(encoding="utf-8")).items():
        base = arms[arm["of"]] if "of" in arm else Arm(tuple(arm["configs"]), {})
        arms[name] = Arm(base.configs, {**base.settings, **arm["settings"], **arm.get(scale, {})})
    return arms


def cells(options: argparse.Namespace) -> list[CellSpec]:
    """What is to be run, seed by seed.

    Raises:
        InputError: an unknown arm, an arm, seed or number of patients given twice, a seed or length that cannot be, or one of
            them in ``--set``.
    """
    arms, found = read_arms(options.scale), []
    for name in ("method", "seeds", "labeled_patients"):
        given = getattr(options, name)
        if len(set(given)) < len(given):
            raise InputError(f"--{name} names one twice: {', '.join(map(str, given))}.")
    if min(options.seeds) < 0 or (options.max_epochs is not None and options.max_epochs < 1):
        raise InputError("--seeds must be 0 or more, --max_epochs 1 or more.")
    unknown = [name for name in options.method if name not in arms]
    if unknown:
        raise InputError(f"--method {unknown[0]!r} is no arm; there are {', '.join(map(repr, arms))}.")
    further = settings(options.set)
    if clash := sorted(further.keys() & OPTIONS):
        raise InputError(f"--set {clash[0]} would give a cell what its name does not say: use {OPTIONS[clash[0]]}.")
    scale = SCALES[options.scale] | ({} if options.max_epochs is None else {"max_epochs": options.max_epochs})
    grid = f"ssl_{options.scale}" if options.max_epochs is None else f"ssl_{options.scale}_{options.max_epochs}"
    for seed in options.seeds:
        for count in options.labeled_patients:
            for name in options.method:
                arm, percent = arms[name], round(100 * count / TRAINING_PATIENTS, 2)
                network = OF_UNET[options.scale] if UNET in arm.configs else {}
                chosen = {"labeled_patients": count, "seed": seed}
                chosen_settings = {**COMMON, **scale, **network, **arm.settings, **chosen, **further}
                cell = cell_name("ACDC", name, count, seed)
                found.append(CellSpec(grid, cell, "ACDC", name, percent, seed, arm.configs, chosen_settings))
    return found


def parser() -> argparse.ArgumentParser:
    known = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known.add_argument("--dataset_dir", type=Path, required=True, help="of ACDC, the folder that holds training")
    known.add_argument("--labeled_patients", type=int, nargs="+", default=[3], choices=LABELED_PATIENTS)
    known.add_argument("--method", nargs="+", default=list(DEFAULT_METHODS), help="arms of ssl_arms.json")
    known.add_argument("--seeds", type=int, nargs="+", default=[0])
    known.add_argument("--scale", choices=SCALES, default="small")
    known.add_argument("--max_epochs", type=int, help="of all arms; default: by the scale, 5 or 200")
    known.add_argument(
        "--test_dir",
        type=Path,
        help="labelled ACDC patients, scored after training, choosing nothing: of the split's test patients those that are there, or all",
    )
    known.add_argument(
        "--withheld",
        action="store_true",
        help="score the unlabelled patients, too, whose labels no run is shown: more than validation has, and they choose nothing",
    )
    known.add_argument(
        "--seconds", type=float, help="stop after these, saving what runs, to be given again; the exit code is 3 then"
    )
    known.add_argument("--output_dir", type=Path, default=Path("output/ssl"), help="runs, logs, report")
    known.add_argument("--cells", type=Path, help="finished cells; default: OUTPUT_DIR/cells")
    known.add_argument("--gpus", help="numbers of the GPUs to use, as 0,1; default: all visible ones")
    known.add_argument("--workers", type=int, help="cells at a time; default: one for each GPU, one without")
    known.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="further settings of all arms")
    known.add_argument("--dry_run", action="store_true", help="say which cells there are")
    return known


def run(options: argparse.Namespace) -> int:
    """Run what is not finished, score further patients, report; the exit code."""
    from scripts.experiments.runner import Runner, is_finished  # which needs file locks

    results = (options.cells or options.output_dir / "cells").resolve()
    jobs = [_job(spec, options, results) for spec in cells(options)]
    if not options.dataset_dir.is_dir():
        raise InputError(f"--dataset_dir {options.dataset_dir} is no folder: give that of ACDC, which holds training.")
    if options.dry_run:
        for job in jobs:
            print(f"{job.spec.name}: {'finished' if is_finished(job) else 'to run'}")
        return 0
    if options.seconds is not None and not options.seconds > 0:
        raise InputError(f"--seconds must be above 0, got {options.seconds:g}.")
    deadline = None if options.seconds is None else time.monotonic() + options.seconds
    further = _further(jobs, options)  # known, or refused, before the training
    outcome = Runner(jobs, slots(options), deadline=deadline).run()
    finished = [job for job in jobs if is_finished(job)]
    unscored = [missing for what in further for missing in _score(finished, what, deadline).items()]
    failed = outcome.failed | {name: why for name, why in unscored if why}
    unfinished = outcome.unfinished + [name for name, why in unscored if not why]
    for name, log in failed.items():
        print(f"\n{name} failed:\n{log}")
    if finished:
        print(write_report(results / jobs[0].spec.grid, options.output_dir / "report" / jobs[0].spec.grid))
    if unfinished:
        print(
            f"{options.seconds:g} s are over; to go on, give the command again. Not finished: {', '.join(unfinished)}."
        )
    return 1 if failed else TIME_IS_OVER if unfinished else 0


@dataclass(frozen=True)
class _Further:
    """Patients to be scored once cells are finished: those of a ``section``, "test" or "unlabeled", in folder ``root``, by cell."""

    section: str
    root: Path
    patients: Mapping[str, Sequence[Patient]]


def _further(jobs: Sequence[CellJob], options: argparse.Namespace) -> list[_Further]:
    """Whom ``--test_dir`` and ``--withheld`` ask for."""
    if options.test_dir is None and not options.withheld:
        return []
    splits, found = {job.spec.name: _sections(job) for job in jobs}, []
    if options.test_dir is not None:
        tested = {name: patients_of(options.test_dir, split) for name, split in splits.items()}
        found.append(_Further("test", options.test_dir, tested))
    if options.withheld:
        unlabeled = {name: withheld(options.dataset_dir, split) for name, split in splits.items()}
        found.append(_Further("unlabeled", options.dataset_dir, unlabeled))
    return found


def _sections(job: CellJob) -> dict[str, list[str]]:
    """Patients of the run by section, as its data list will have them."""
    wanted = job.spec.settings
    names = ("labeled_fraction", "labeled_patients", "seed")
    split = wanted["split"] and ROOT / wanted["split"]
    return data_list(job.dataset_dir, split, **{name: wanted[name] for name in names})["patients"]


def _score(jobs: Sequence[CellJob], what: _Further, deadline: float | None) -> dict[str, str]:
    """Score further patients of each cell; which scores are missing, and why, "" where the time was over."""
    unscored = {}
    for job in jobs:
        patients, missing = what.patients[job.spec.name], f"{job.spec.name} (scores of {what.section} patients)"
        if is_scored(job, what.section, patients):
            continue
        if deadline is not None and time.monotonic() >= deadline:
            unscored[missing] = ""
            continue
        try:
            add_scores(job, what.section, what.root, patients)
        except InputError as error:
            unscored[missing] = str(error)
    return unscored


def _job(spec: CellSpec, options: argparse.Namespace, results: Path) -> CellJob:
    return CellJob(
        spec=spec,
        dataset_dir=str(options.dataset_dir.resolve()),
        output_dir=str(options.output_dir.resolve()),
        result=str(results / spec.grid / f"{spec.name}.json"),
        tracking={"cache_dir": str(options.output_dir.resolve() / "cache"), "mlflow": False},
        one_component=True,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    return exit_code_of(lambda: run(options), failed=2)


if __name__ == "__main__":
    sys.exit(main())
