"""The paper's comparison: run the cells of a grid, and make tables and figures of what ran.

python -m scripts.experiments.paper run --grid acdc_small --dataset_dir ACDC
python -m scripts.experiments.paper report
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from scripts.errors import InputError
from scripts.experiments.estimate import estimate
from scripts.experiments.grid import ARMS, DATA, Grid, read_grid
from scripts.experiments.job import CellJob
from scripts.experiments.parent_run import close_parent_run, default_tracking_uri, parent_run_id

if TYPE_CHECKING:
    from scripts.experiments.runner import Outcome

NOT_MEASURED = "reading the data, validation and evaluation come on top"


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = main.add_subparsers(dest="command", required=True)
    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--output_dir", type=Path, default=Path("output/experiments"), help="runs, logs, MLflow, page")
    places.add_argument("--cells", type=Path, help="finished cells, a small JSON each; default: OUTPUT_DIR/cells")

    run = commands.add_parser("run", parents=[places], help="run the cells that are not finished")
    run.add_argument("--grid", default="paper", help="a JSON file, or a name in scripts/experiments/grids")
    run.add_argument(
        "--dataset_dir",
        nargs="+",
        required=True,
        metavar="[NAME=]DIR",
        help="of each data set, as VOC=DIR Cityscapes=DIR",
    )
    run.add_argument("--data", nargs="+", help="only these data sets of the grid")
    run.add_argument("--arms", nargs="+", choices=list(ARMS), help="only these arms")
    run.add_argument("--fractions", nargs="+", type=float, help="these labelled fractions instead of the grid's")
    run.add_argument("--seeds", nargs="+", type=int, help="these seeds instead of the grid's")
    run.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="further settings, as max_epochs=10")
    run.add_argument("--dry_run", action="store_true", help="print the cells and the time that they would take")
    run.add_argument("--gpus", help="numbers of the GPUs to use, as 0,1,2; default: all visible ones")
    run.add_argument("--workers", type=int, help="cells at a time; default: one for each GPU, one without")
    run.add_argument("--no_wait", action="store_true", help="leave cells that others are running to them")
    run.add_argument("--no_mlflow", action="store_true")
    run.add_argument("--tracking_uri", help="of MLflow; default: SQLite in OUTPUT_DIR")

    report = commands.add_parser("report", parents=[places], help="tables, figures and a page of the finished cells")
    report.add_argument(
        "--no_pictures", action="store_true", help="no images and predictions: what may be published of any data set"
    )
    report.add_argument("--report_dir", type=Path, help="default: OUTPUT_DIR/report")
    return main


def run(options: argparse.Namespace) -> int:
    """Run a grid; the exit code."""
    from scripts.experiments.runner import Runner, is_finished  # which needs file locks, as a report does not

    grid = read_grid(options.grid).narrowed(
        settings(options.set), data=options.data, arms=options.arms, fractions=options.fractions, seeds=options.seeds
    )
    tracking_uri = options.tracking_uri or default_tracking_uri(options.output_dir)
    tracking: dict[str, Any] = {
        "cache_dir": str(options.output_dir.resolve() / "cache"),
        "mlflow": not options.no_mlflow,
    }
    jobs = _jobs(grid, options, tracking)
    finished = {job.spec.name for job in jobs if is_finished(job)}
    if options.dry_run:
        _print_plan(jobs, finished)
        return 0
    if not options.no_mlflow:
        parent = parent_run_id(grid, options.output_dir, tracking_uri)
        tracking |= {"tracking_uri": tracking_uri, "experiment_name": "experiments", "parent_run_id": parent}
    outcome = Runner(_jobs(grid, options, tracking), slots(options), wait=not options.no_wait).run()
    _print_outcome(outcome)
    if not options.no_mlflow and not outcome.elsewhere:
        close_parent_run(parent, tracking_uri, len(outcome.failed))
    return 1 if outcome.failed else 0


def _jobs(grid: Grid, options: argparse.Namespace, tracking: dict[str, Any]) -> list[CellJob]:
    directories = _directories(options.dataset_dir, grid)
    results = (options.cells or options.output_dir / "cells").resolve()
    return [
        CellJob(
            spec=spec,
            dataset_dir=directories[spec.dataset],
            output_dir=str(options.output_dir.resolve()),
            result=str(results / spec.grid / f"{spec.name}.json"),
            tracking=tracking,
        )
        for spec in grid.cells()
    ]


def _directories(given: Sequence[str], grid: Grid) -> dict[str, str]:
    """Folder of each data set of ``grid``."""
    wanted = list(dict.fromkeys(cell.dataset for cell in grid.cells()))
    if len(wanted) == len(given) == 1 and given[0].partition("=")[0] not in DATA:
        return {wanted[0]: str(Path(given[0]).resolve())}
    found = {
        name: str(Path(folder).resolve()) for name, _, folder in (entry.partition("=") for entry in given) if folder
    }
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InputError(
            f"--dataset_dir does not say where {', '.join(missing)} is: expected "
            f"{' '.join(f'{name}=DIR' for name in wanted)}, or choose with --data."
        )
    return found


def settings(entries: Sequence[str]) -> dict[str, Any]:
    """``key=value`` with JSON values; what is no JSON is a string."""
    settings = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not (key and equals):
            raise InputError(f"--set takes KEY=VALUE, got {entry!r}.")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings


def slots(options: argparse.Namespace) -> list[dict[str, str]]:
    """Environment of each place where a cell can run at a time."""
    visible = options.gpus or os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",") if visible else [str(index) for index in range(torch.cuda.device_count())]
    workers = max(1, len(gpus)) if options.workers is None else options.workers
    if workers < 1:
        raise InputError(f"--workers must be at least 1, got {workers}.")
    return [{"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)]} if gpus else {} for index in range(workers)]


def _print_plan(jobs: Sequence[CellJob], finished: set[str]) -> None:
    times = estimate([job for job in jobs if job.spec.name not in finished])
    total = 0.0
    for job in jobs:
        name = job.spec.name
        if name in finished:
            print(f"{name}: finished")
            continue
        updates, seconds = times[name]
        total += updates * seconds
        print(f"{name}: {updates} updates of {seconds:.3g} s, {updates * seconds / 60:.1f} min")
    print(f"{len(jobs)} cells, {len(finished)} finished; about {total / 3600:.2f} h on one device: {NOT_MEASURED}.")


def _print_outcome(outcome: "Outcome") -> None:
    print(f"{len(outcome.finished)} cells finished, {len(outcome.skipped)} were, {len(outcome.failed)} failed.")
    if outcome.elsewhere:
        print(f"Left to other runners: {', '.join(outcome.elsewhere)}.")
    for name, log in outcome.failed.items():
        print(f"\n{name} failed:\n{log}")


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        if options.command == "run":
            return run(options)
        from scripts.experiments.report import write_report  # with its plotting, which a run needs not

        cells = options.cells or options.output_dir / "cells"
        runs = None if options.no_pictures else options.output_dir
        write_report(cells, options.report_dir or options.output_dir / "report", runs_dir=runs)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
