"""From a study to its report: how long each part takes, and the most memory.

Runs configs/clinical.json on a study, by default the phantom's, in a process of its own, and tells the parts apart by the
events of its evaluator. Starting Python and importing come on top.
"""

import argparse
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow
from monai.engines.utils import IterationEvents

from scripts.benchmarks.measurement import in_own_process, machine, markdown_table, peak_memory_mb
from scripts.data.dicom_phantom import write_dicom_phantom
from scripts.files import write_json

ROOT = Path(__file__).resolve().parents[2]
PARTS = {
    "reading": "find the series, check, decode",
    "model": "load the network",
    "preprocessing": "resample and normalise each phase",
    "network": "class probabilities",
    "postprocessing": "back to the acquired grid, largest components",
    "report": "measure, check, write masks, tables and page",
}


@dataclass(frozen=True)
class Job:
    study: str
    model: str
    output_dir: str
    device: str
    precision: str
    batch_size: int
    flips: bool
    threads: int | None


@dataclass(frozen=True)
class Result:
    """Seconds of each of ``PARTS``."""

    slices: int
    phases: int
    seconds: dict[str, float]
    peak_memory_mb: float | None


class Laps:
    """Adds the time since the last call to a part."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._last = perf_counter()

    def end_of(self, part: str) -> None:
        now = perf_counter()
        self.seconds[part] += now - self._last
        self._last = now

    def attach(self, evaluator: Engine) -> None:
        for event, part in (
            (Events.GET_BATCH_COMPLETED, "preprocessing"),
            (IterationEvents.FORWARD_COMPLETED, "network"),
            (Events.ITERATION_COMPLETED, "postprocessing"),
        ):
            evaluator.add_event_handler(event, self.end_of, part)


def measure(job: Job) -> Result:
    """Run the workflow and take its time apart."""
    if job.threads:
        torch.set_num_threads(job.threads)
    workflow = ConfigWorkflow(
        str(ROOT / "configs" / "clinical.json"),
        workflow_type="infer",
        logging_file=False,
        bundle_root=str(ROOT),
        study=job.study,
        model=job.model,
        output_dir=job.output_dir,
        device=f"$torch.device('{job.device}')",
        precision=job.precision,
        batch_size=job.batch_size,
        flips=job.flips,
    )
    workflow.initialize()
    laps = Laps()
    study = workflow.parser.get_parsed_content("read_study")
    laps.end_of("reading")
    workflow.parser.get_parsed_content("network")
    laps.end_of("model")
    laps.attach(workflow.parser.get_parsed_content("evaluator"))
    workflow.run()
    laps.end_of("report")
    phases, *_, slices = study.images.shape
    return Result(slices, phases, laps.seconds, peak_memory_mb(job.device))


def table(result: Result) -> str:
    total = sum(result.seconds.values())
    rows = [(part, PARTS[part], f"{s:.2f}", f"{s / total:.0%}") for part, s in result.seconds.items()]
    memory = "unknown" if result.peak_memory_mb is None else f"{result.peak_memory_mb:.0f} MB"
    rows.append((f"{result.slices} slices x {result.phases} phases", f"peak memory {memory}", f"{total:.2f}", "100%"))
    return markdown_table(("part", "what", "seconds", "share"), rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="with its model.json beside it")
    parser.add_argument("--study", help="as of python -m scripts.clinical; default: the phantom's DICOM study")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--flips", action="store_true")
    parser.add_argument("--threads", type=int, help="of the CPU; default: torch's choice")
    parser.add_argument("--json", type=Path, help="write the result to this file, too")
    options = parser.parse_args(arguments)
    here = machine(options.device)
    print(", ".join(f"{name}: {value}" for name, value in here.items()), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        study = options.study or str(write_dicom_phantom(Path(folder) / "study"))
        job = Job(
            str(Path(study).resolve()),
            str(Path(options.model).resolve()),
            str(Path(folder) / "report"),
            options.device,
            options.precision,
            options.batch_size,
            options.flips,
            options.threads,
        )
        result = in_own_process(measure, job)
    if options.json:
        write_json(options.json, {"machine": here, "job": asdict(job), "result": asdict(result)})
    print(f"\n{table(result)}")


if __name__ == "__main__":
    main()
