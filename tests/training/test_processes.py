"""Training in several processes, two of them, by Gloo: the numbers are those of one process with all their data."""

import json
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from torch import Tensor, nn

from scripts.data.unpaired import UnpairedBatches
from scripts.errors import InputError
from scripts.metrics import validation_metrics
from scripts.networks.pixel_discriminator import PixelDiscriminator
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.objectives.cyclegan import CycleGANObjective
from scripts.training import processes
from scripts.training.state import TrainingState
from scripts.training.trainer import AlternatingTrainer
from scripts.training.validation import slices_of_process

CLASSES, PIXELS, SLICES = 3, 16, 24


class Noise:
    """Slices of noise, in double precision."""

    def __init__(self, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        self.images = torch.randn(SLICES, 1, PIXELS, PIXELS, generator=random, dtype=torch.float64)
        self.labels = torch.randint(CLASSES, (SLICES, PIXELS, PIXELS), generator=random)

    def __len__(self) -> int:
        return SLICES

    def take(self, indices: Sequence[int]) -> dict[str, Tensor]:
        return {"image": self.images[indices], "label": self.labels[indices]}

    def names(self, indices: Iterable[int]) -> list[str]:
        return [str(index) for index in indices]


def in_processes(work: Callable[[], Any], folder: Path, count: int = 2, codes: Sequence[int] = (0, 0)) -> list[Any]:
    """What ``work()`` gives in each process of a group; None where it ended before."""
    folder.mkdir(parents=True, exist_ok=True)

    def run(rank: int) -> None:
        torch.set_num_threads(1)
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=count)
        try:
            torch.save(work(), folder / f"{rank}.pt")
        finally:
            processes.stop()

    children = [get_context("fork").Process(target=run, args=(rank,)) for rank in range(count)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == list(codes)
    results = [folder / f"{rank}.pt" for rank in range(count)]
    return [torch.load(result, weights_only=True) if result.is_file() else None for result in results]


def without_batch_norm(channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 4, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 1)).double()


def make_trainer(batch_size: int, epochs: int = 1, seed: int = 0, **options: Any) -> AlternatingTrainer:
    """The paper's six terms, discriminators without batch norm, Adam, double precision."""
    torch.manual_seed(seed)
    objective = CycleGANObjective(
        ResNetGenerator(1, CLASSES, 2, blocks=1).double(),
        ResNetGenerator(CLASSES, 1, 2, blocks=1, activation="tanh").double(),
        without_batch_norm(CLASSES),
        without_batch_norm(1),
        CLASSES,
    )
    batches = UnpairedBatches(Noise(1), Noise(2), batch_size, rank=processes.rank(), processes=processes.count())
    sides = objective.generators, objective.discriminators
    adam, discriminator_adam = (torch.optim.Adam(side.parameters(), 2e-3, (0.5, 0.999)) for side in sides)
    settings = {"pool_size": 0, "max_epochs": epochs, "device": "cpu", "train_data_loader": batches} | options
    return AlternatingTrainer(objective, adam, discriminator_adam, **settings)


def trained(batch_size: int, **options: Any) -> dict[str, Any]:
    trainer = make_trainer(batch_size, **options)
    trainer.run()
    networks = nn.ModuleList([trainer.objective.generators, trainer.objective.discriminators])
    return {
        "weights": networks.state_dict(),
        "means": {str(name): value for name, value in trainer.state.metrics.items()},
        "steps": trainer.state.iteration,
    }


@pytest.mark.parametrize("options", [{}, {"accumulation_steps": 2}, {"clip_norm": 0.01}], ids=str)
def test_two_processes_are_one_with_twice_the_batch(tmp_path: Path, options: dict[str, Any]) -> None:
    one = trained(4, **options)
    two = in_processes(lambda: trained(2, **options), tmp_path)
    assert one["steps"] == two[0]["steps"] == 12
    torch.testing.assert_close(two[0]["weights"], two[1]["weights"], rtol=0, atol=0)
    torch.testing.assert_close(two[0]["weights"], one["weights"], rtol=1e-8, atol=1e-8)
    assert two[0]["means"] == two[1]["means"] == pytest.approx(one["means"], rel=1e-5)


def test_processes_start_with_the_weights_of_the_first(tmp_path: Path) -> None:
    two = in_processes(lambda: trained(2, seed=processes.rank()), tmp_path)
    torch.testing.assert_close(two[0]["weights"], two[1]["weights"], rtol=0, atol=0)


def test_batches_of_all_processes_make_up_the_larger_one() -> None:
    whole = UnpairedBatches(Noise(1), Noise(2), 6)
    parts = [UnpairedBatches(Noise(1), Noise(2), 2, rank=rank, processes=3) for rank in range(3)]
    assert [len(part) for part in parts] == [len(whole)] * 3
    for position in (0, 5, 11):
        batches = [part.batch(position) for part in parts]
        for name in ("image", "label", "unlabeled_image"):
            assert torch.equal(torch.cat([batch[name] for batch in batches]), whole.batch(position)[name])


def validated() -> dict[str, float]:
    """Metrics of noise, of which each process sees its slices, in batches of 5."""
    noise = Noise(3)
    mine = range(processes.rank(), SLICES, processes.count())
    batches = [
        noise.take(numbers) | {"case": torch.tensor([number // 7 for number in numbers])}
        for numbers in (list(mine[start : start + 5]) for start in range(0, len(mine), 5))
    ]
    torch.manual_seed(0)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=batches,
        network=ResNetGenerator(1, CLASSES, 2, blocks=1).double(),
        additional_metrics=validation_metrics(("background", "ring", "disc")),
        decollate=False,
    )
    evaluator.run()
    return {name: float(value) for name, value in evaluator.state.metrics.items()}


def test_metrics_are_those_of_the_whole_data_set(tmp_path: Path) -> None:
    """Exactly: a mean of the processes' means would differ in the third digit."""
    assert in_processes(validated, tmp_path) == [validated()] * 2


def test_more_processes_than_validation_slices_are_refused() -> None:
    assert [*slices_of_process(5, 1, 2)] == [1, 3]
    assert [*slices_of_process(0, 0, 1)] == []
    with pytest.raises(InputError, match="3 processes cannot share 2 validation slices"):
        slices_of_process(2, 0, 3)


def test_all_stop_at_one_step_and_another_number_of_processes_goes_on(tmp_path: Path) -> None:
    """Process 1 is asked to stop in its fourth step of six; both save and leave after it. One process with as large a batch
    each has 12 steps an epoch, so it goes on after its eighth."""

    def stopped() -> None:
        trainer = make_trainer(4, epochs=3, train_handlers=[TrainingState(tmp_path / "state.pt", {})], pool_size=5)
        ask = Events.ITERATION_STARTED(once=4)
        if processes.rank() == 1:
            trainer.add_event_handler(ask, lambda: os.kill(os.getpid(), signal.SIGTERM))
        trainer.run()

    in_processes(stopped, tmp_path / "group", codes=(128 + signal.SIGTERM,) * 2)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["engine"] == {"epoch": 1, "iteration": 4, "epoch_length": 6}
    pools = [process["pools"]["mask_discriminator"]["fakes"][0] for process in state["processes"]]
    assert len(pools) == 2
    assert not torch.equal(*pools), "each has its own"

    handler = TrainingState(tmp_path / "state.pt", {}, resume=True)
    trainer = make_trainer(4, epochs=3, train_handlers=[handler], pool_size=5)
    steps: list[int] = []
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda: steps.append(trainer.state.iteration))
    trainer.run()
    assert steps == list(range(9, 37))


def test_only_the_first_process_writes_and_clears(tmp_path: Path) -> None:
    def run() -> bool:
        path = tmp_path / f"{processes.rank()}" / "state.pt"
        make_trainer(4, train_handlers=[TrainingState(path, {})]).run()
        return path.is_file()

    assert in_processes(run, tmp_path / "group") == [True, False]


def test_on_the_cpu_batch_norm_stays_as_it_is(tmp_path: Path) -> None:
    def kinds() -> list[str]:
        discriminator = PixelDiscriminator(1, 2)
        processes.synchronize_batch_norm(discriminator, torch.device("cpu"))
        return [type(module).__name__ for module in discriminator.modules()]

    assert all("BatchNorm1d" in names for names in in_processes(kinds, tmp_path))


def test_one_process_is_not_a_group() -> None:
    values = {"loss": torch.tensor(3.0)}
    assert (processes.rank(), processes.count(), processes.largest(5)) == (0, 1, 5)
    assert processes.averaged(values) == values
    assert processes.gathered("all") == ["all"]
    processes.stop()


def test_the_overlay_reads_what_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    overlay = json.loads((Path(__file__).parents[2] / "configs" / "multi_gpu_train.json").read_text())
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    values = {name: eval(overlay[name].removeprefix("$"), {"os": os}) for name in ("rank", "processes")}
    assert values == {"rank": 3, "processes": 4}
