"""The benchmark of a step, at a tiny size: it runs the real engine, counts right and says what it measured."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scripts.benchmarks import measurement, step
from scripts.benchmarks.measurement import Stopwatch, machine, markdown_table, peak_memory_mb
from scripts.benchmarks.step import Job, Result, measure
from scripts.training.trainer import AlternatingTrainer

TINY = Job(
    "training", "small", pixels=16, filters=2, device="cpu", precision="float32", steps=2, seconds=0.0
)  # fmt: skip


class Clock:
    """Time that passes only when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = 100.0
        monkeypatch.setattr(measurement, "perf_counter", lambda: self.time)

    def step(self, stopwatch: Stopwatch, waiting: float, working: float) -> bool:
        stopwatch.wait()
        self.time += waiting
        stopwatch.work()
        self.time += working
        last = stopwatch.done()
        self.time += 1000.0  # between steps
        return last


# The stopwatch


def test_the_stopwatch_tells_waiting_from_work_and_leaves_out_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stopwatch = Clock(monkeypatch), Stopwatch("cpu", warm_up=2, steps=3)
    times = [(5, 50), (4, 40), (1, 2), (1, 3), (2, 7)]
    assert [clock.step(stopwatch, *both) for both in times] == [False, False, False, False, True]
    assert (stopwatch.timed, stopwatch.total, stopwatch.waited) == (3, 16, 4)


@pytest.mark.parametrize(("seconds", "timed"), [(0, 1), (9, 1), (10, 1), (10.5, 2), (35, 4)])
def test_without_a_number_of_steps_the_time_decides(
    monkeypatch: pytest.MonkeyPatch, seconds: float, timed: int
) -> None:
    clock, stopwatch = Clock(monkeypatch), Stopwatch("cpu", warm_up=1, seconds=seconds)
    while not clock.step(stopwatch, 1, 9):
        pass
    assert stopwatch.timed == timed


# Measuring


@pytest.mark.parametrize("task", ["training", "inference"])
@pytest.mark.parametrize("size", ["small", "paper"])
def test_a_result_agrees_with_itself(task: str, size: str) -> None:
    result = measure(replace(TINY, task=task, size=size))
    assert (result.task, result.size, result.pixels, result.filters, result.timed_steps) == (task, size, 16, 2, 2)
    assert result.images == 10
    assert result.precision == "float32"
    assert result.seconds_per_step > 0
    assert result.steps_per_second == pytest.approx(1 / result.seconds_per_step)
    assert result.images_per_second == pytest.approx(10 / result.seconds_per_step)
    assert 0 < result.waiting < 1
    assert result.peak_memory_mb > 50  # torch alone


@pytest.mark.parametrize(
    ("size", "expected"), [("small", [(10, 1, 16, 16)] * 4), ("paper", [(10, 1, 32, 32), *[(10, 1, 16, 16)] * 2])]
)
def test_training_is_the_engines_step_on_all_the_images(
    monkeypatch: pytest.MonkeyPatch, size: str, expected: list[tuple[int, ...]]
) -> None:
    """Two steps warm up and two count; at the paper's size on a CPU one small one warms up."""
    seen, terms = [], []
    iteration = AlternatingTrainer._iteration

    def watched(self: AlternatingTrainer, engine: object, batch: dict) -> dict:
        seen.append(tuple(torch.cat([batch["image"], batch["unlabeled_image"]]).shape))
        output = iteration(self, engine, batch)
        terms.append({name for name, value in output.items() if value.ndim == 0})
        return output

    monkeypatch.setattr(AlternatingTrainer, "_iteration", watched)
    measure(replace(TINY, size=size))
    assert seen == expected
    assert terms[-1] == {
        "loss", "segmentation", "image_reconstruction", "mask_cycle", "image_cycle", "mask_adversarial",
        "image_adversarial", "mask_discriminator", "image_discriminator",
    }  # fmt: skip


def test_inference_predicts_whole_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    infer = step.StackInferer.__call__

    def watched(self: step.StackInferer, inputs: torch.Tensor, network: torch.nn.Module) -> torch.Tensor:
        probabilities = infer(self, inputs, network)
        seen.append((tuple(inputs.shape), tuple(probabilities.shape), network.training, probabilities.requires_grad))
        return probabilities

    monkeypatch.setattr(step.StackInferer, "__call__", watched)
    measure(replace(TINY, task="inference", steps=1))
    assert seen == [((1, 1, 16, 16, 10), (1, 4, 16, 16, 10), False, False)] * 3


def test_the_precision_is_the_one_asked_for() -> None:
    result = measure(replace(TINY, task="inference", precision="bfloat16", steps=1))
    assert result.precision == "bfloat16"


# What is said


def test_the_command_measures_in_its_own_process_and_ends_with_the_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "out" / "step.json"
    options = "--size small --task inference --pixels 16 --filters 2 --steps 1 --device cpu --precision float32"
    step.main([*options.split(), "--json", str(path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("device: CPU, CPU: ")
    assert re.search(rf"threads: \d+, torch: {re.escape(torch.__version__)}", lines[0])
    assert lines[-3].startswith("| size ")
    assert re.match(r"\| small: 16 x 16, 2 filters, float32 \| inference \| 10 +\| 1 ", lines[-1])
    assert len({len(line) for line in lines[-3:]}) == 1
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["machine"] == machine("cpu")
    (result,) = content["results"]
    assert f"| {result['images_per_second']:.3g} " in lines[-1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", [("training", "small", 96, 16), ("inference", "small", 96, 16), ("training", "paper", 192, 64), ("inference", "paper", 192, 64)]),
        ("--size paper --task training", [("training", "paper", 192, 64)]),
        ("--size small --filters 8", [("training", "small", 96, 8), ("inference", "small", 96, 8)]),
    ],
    ids=["default", "paper", "filters"],
)  # fmt: skip
def test_the_options_choose_what_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: str, expected: list[tuple]
) -> None:
    jobs = []

    def pretend(measure: object, job: Job) -> Result:
        jobs.append(job)
        return Result(job.task, job.size, job.pixels, job.filters, "float32", 10, 1, 2.0, 0.5, 5.0, 0.25, None)

    monkeypatch.setattr(step, "in_own_process", pretend)
    step.main([*options.split(), "--device", "cpu", "--seconds", "7"])
    assert [(job.task, job.size, job.pixels, job.filters) for job in jobs] == expected
    assert {(job.seconds, job.steps, job.precision) for job in jobs} == {(7.0, None, "auto")}
    table = capsys.readouterr().out.splitlines()[-len(expected) :]
    assert all(re.search(r"\| 2 +\| 0\.5 +\| 5 +\| 25\.00% +\| unknown", line) for line in table)


@pytest.mark.parametrize("options", ["--steps 0", "--size huge", "--task both", "--precision int8"])
def test_options_that_make_no_sense_are_refused(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        step.main(options.split())
    assert caught.value.code == 2
    assert options.split()[0] in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux tells the peak memory in a second way")
def test_the_peak_memory_is_what_linux_says() -> None:
    high_water = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert high_water is not None
    assert peak_memory_mb("cpu") == pytest.approx(int(high_water.group(1)) / 1024, rel=0.05)


def test_a_table_is_aligned_and_is_markdown() -> None:
    assert markdown_table(("a", "long"), [("12345", "b"), ("1", "")]) == (
        "| a     | long |\n| ----- | ---- |\n| 12345 | b    |\n| 1     |      |"
    )
