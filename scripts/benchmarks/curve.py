"""Whether the fast step trains as the plain one does: both from the same weights, on the same batches of ACDC.

The losses of the bundle's step (in --precision, compiled if asked) and of the plain step in float32 without TF32
(scripts.benchmarks.plain_step) are averaged over stretches of the training; after the last step both segmentors are scored on
the validation patients. Two runs that differ by rounding alone drift apart, as any two do; the third column says how far a
plain run from weights that differ by 1e-6 is from the plain one (--twin).
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor, nn

from scripts.benchmarks.bundle_step import NUM_CLASSES, Job, bundle_step, optimizers, paper_objective
from scripts.benchmarks.measurement import machine, markdown_table
from scripts.benchmarks.plain_step import PlainStep
from scripts.data.acdc import data_list
from scripts.data.preprocessing import SliceGrid
from scripts.data.slices import SliceDataset
from scripts.data.unpaired import UnpairedBatches
from scripts.files import write_json
from scripts.metrics import CaseConfusion, dice
from scripts.training.precision import DTYPES

FIELD_OF_VIEW = 288.0
"""In mm, whatever the pixels."""
BUNDLE, PLAIN, TWIN = "bundle", "plain", "plain, weights + 1e-6"
TrainingStep = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True)
class Curve:
    """Of one run: the mean of each term over every stretch, and the mean Dice of validation cases and foreground classes."""

    terms: Mapping[str, Sequence[float]]
    dice: float


def measure(job: Job, dataset_dir: Path, steps: int, stretches: int, twin: bool) -> dict[str, Curve]:
    """Train all runs side by side."""
    data = data_list(dataset_dir, labeled_fraction=0.1)
    spacing = FIELD_OF_VIEW / job.pixels
    transform = SliceGrid((spacing, spacing), (job.pixels, job.pixels)).preprocessing(("image", "label"), NUM_CLASSES)
    with tempfile.TemporaryDirectory() as cache:
        labeled, unlabeled, validation = (
            SliceDataset(
                data[part],
                transform,
                dataset_dir,
                job.device,
                cache_dir=cache,
                name=part,
                processes=os.cpu_count() or 1,
            )
            for part in ("labeled", "unlabeled", "validation")
        )
        batches = UnpairedBatches(labeled, unlabeled, job.batch_size)
        runs = _runs(job, twin)
        history: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
        for number in range(steps):
            batch = {k: v.to(job.device) for k, v in batches.batch(number).items() if torch.is_tensor(v)}
            for name, (step, _) in runs.items():
                history[name].append({term: float(value) for term, value in step(batch).items()})
        return {
            name: Curve(_stretches(history[name], stretches), _dice(segmentor, validation))
            for name, (_, segmentor) in runs.items()
        }


def _runs(job: Job, twin: bool) -> dict[str, tuple[TrainingStep, nn.Module]]:
    """A step and its segmentor by the name of the run."""
    bundle = bundle_step(job)

    def bundle_on(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        bundle.batch = batch
        return bundle()

    runs: dict[str, tuple[TrainingStep, nn.Module]] = {
        BUNDLE: (bundle_on, bundle.trainer.objective.generators["segmentor"])
    }
    for name in (PLAIN, TWIN) if twin else (PLAIN,):
        plain = Job(job.pixels, job.filters, job.device, "float32", 0, job.blocks, own_norm=False, linear=False)
        objective = paper_objective(plain)
        if name == TWIN:
            with torch.no_grad():
                for parameter in objective.generators.parameters():
                    parameter.add_(torch.randn_like(parameter), alpha=1e-6)
        step = PlainStep(objective, *optimizers(objective, plain), job.device)
        runs[name] = (step, objective.generators["segmentor"])
    return runs


def _stretches(history: Sequence[Mapping[str, float]], count: int) -> dict[str, list[float]]:
    edges = [round(i * len(history) / count) for i in range(count + 1)]
    return {term: [mean(row[term] for row in history[a:b]) for a, b in pairwise(edges)] for term in history[0]}


@torch.no_grad()
def _dice(segmentor: nn.Module, dataset: SliceDataset) -> float:
    segmentor.eval()
    confusion = CaseConfusion(NUM_CLASSES)
    for numbers in torch.arange(len(dataset)).split(16):
        item = dataset.take(numbers.tolist())
        confusion.update((segmentor(item["image"]), item["label"], item["case"]))
    return float(torch.stack([dice(matrix)[1:] for matrix in confusion.compute()]).nanmean())


def table(curves: Mapping[str, Curve], steps: int) -> str:
    count = len(next(iter(curves[PLAIN].terms.values())))
    rows = []
    for term in curves[PLAIN].terms:
        for name, curve in curves.items():
            rows.append((term, name, *(f"{value:.4f}" for value in curve.terms[term])))
    for name, curve in curves.items():
        rows.append(("Dice on validation", name, *[""] * (count - 1), f"{curve.dice:.4f}"))
    edges = [f"to {round((i + 1) * steps / count)}" for i in range(count)]
    return markdown_table(("term", "run", *edges), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset_dir", type=Path, required=True, help="of ACDC")
    parser.add_argument("--pixels", type=int, default=96)
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--stretches", type=int, default=5)
    parser.add_argument("--precision", choices=["auto", *DTYPES], default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--twin", action="store_true", help="also a plain run from weights that differ by 1e-6")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="write the curves to this file, too")
    options = parser.parse_args(arguments)
    if not 1 <= options.stretches <= options.steps:
        parser.error(f"--stretches must be from 1 to --steps, {options.steps}, got {options.stretches}")
    job = Job(
        options.pixels, options.filters, options.device, options.precision, 0, options.blocks, compile=options.compile
    )
    here = machine(options.device)
    print(", ".join(f"{name}: {value}" for name, value in here.items()))
    curves = measure(job, options.dataset_dir, options.steps, options.stretches, options.twin)
    if options.json:
        found = {name: asdict(curve) for name, curve in curves.items()}
        write_json(options.json, {"machine": here, "job": asdict(job), "steps": options.steps, "curves": found})
    print(f"\n{__doc__}\n{table(curves, options.steps)}")


if __name__ == "__main__":
    main()
