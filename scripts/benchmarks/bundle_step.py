"""The bundle's training step on noise, as configs/train.json builds it, and the same with one thing changed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from ignite.engine import Events
from torch import Tensor, nn

from scripts.benchmarks.plain_step import PlainStep, as_convolutions, with_plain_norm
from scripts.networks.pixel_discriminator import PixelDiscriminator
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.objectives.cyclegan import CycleGANObjective
from scripts.training.trainer import AlternatingTrainer

NUM_CLASSES, BATCH_SIZE = 4, 5
Step = Callable[[], dict[str, Tensor]]


@dataclass(frozen=True)
class Job:
    """What is measured, for ``seconds``.

    Attributes:
        pixels: edge of the images. filters, blocks: of the generators. batch_size: labelled images, and as many unlabelled.
        device, precision, compile, channels_last: see ``scripts.training.trainer.AlternatingTrainer``.
        fused: whether Adam is one kernel; None: on CUDA, as in configs/train.json.
        merged: whether images that go through the same generator go in one pass.
        own_norm: whether instance norm is that of ``scripts.networks.instance_norm``, or PyTorch's.
        linear: whether the discriminators' 1x1 convolutions are computed as linear layers.
    """

    pixels: int
    filters: int
    device: str
    precision: str
    seconds: float
    blocks: int = 9
    batch_size: int = BATCH_SIZE
    compile: bool = False
    channels_last: bool = False
    fused: bool | None = None
    merged: bool = True
    own_norm: bool = True
    linear: bool = True


class BundleStep:
    """``AlternatingTrainer``'s step on one batch a call, without the loop around it."""

    def __init__(self, trainer: AlternatingTrainer, batch: Mapping[str, Tensor]) -> None:
        self.trainer = trainer
        self.batch = batch
        self.networks = nn.ModuleList([trainer.objective.generators, trainer.objective.discriminators])
        trainer.fire_event(Events.EPOCH_STARTED)

    def __call__(self) -> dict[str, Tensor]:
        """One update of all four networks; every term, a detached scalar."""
        self.trainer.state.iteration += 1
        output = self.trainer._iteration(self.trainer, self.batch)
        return {name: value for name, value in output.items() if value.ndim == 0 and name != "loss"}


def bundle_step(job: Job) -> BundleStep:
    """The engine's step on a batch that lies on the device."""
    objective = paper_objective(job)
    if not job.merged:
        objective._merge = dict.fromkeys(objective._merge, False)
    trainer = AlternatingTrainer(
        objective,
        *optimizers(objective, job),
        precision=job.precision,
        compile=job.compile,
        channels_last=job.channels_last,
        max_epochs=1,
        epoch_length=10**9,
        device=torch.device(job.device),
        train_data_loader=[],
    )
    return BundleStep(trainer, noise(job))


def plain_step(job: Job) -> Step:
    """The yardstick, from the same weights and on the same batch."""
    plain = Job(
        job.pixels, job.filters, job.device, "float32", 0, job.blocks, job.batch_size, own_norm=False, linear=False
    )
    objective = paper_objective(plain)
    step, batch = PlainStep(objective, *optimizers(objective, plain), job.device), noise(job)
    return lambda: step(batch)


def paper_objective(job: Job) -> CycleGANObjective:
    """The paper's four networks and six terms, the same weights each time."""
    torch.manual_seed(0)
    segmentor, generator = (
        network if job.own_norm else with_plain_norm(network)
        for network in (
            ResNetGenerator(1, NUM_CLASSES, job.filters, job.blocks),
            ResNetGenerator(NUM_CLASSES, 1, job.filters, job.blocks, activation="tanh"),
        )
    )
    of_masks, of_images = (
        network if job.linear else as_convolutions(network)
        for network in (PixelDiscriminator(NUM_CLASSES), PixelDiscriminator(1))
    )
    objective = CycleGANObjective(segmentor, generator, of_masks, of_images, NUM_CLASSES)
    objective.generators.to(job.device)
    objective.discriminators.to(job.device)
    return objective


def optimizers(objective: CycleGANObjective, job: Job) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    fused = torch.device(job.device).type == "cuda" if job.fused is None else job.fused

    def adam(side: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(side.parameters(), 2e-4, betas=(0.5, 0.999), fused=fused or None)

    return adam(objective.generators), adam(objective.discriminators)


def noise(job: Job) -> dict[str, Tensor]:
    """A batch of noise on the device."""
    random = torch.Generator().manual_seed(0)
    shape = (job.batch_size, 1, job.pixels, job.pixels)
    images = {name: torch.rand(shape, generator=random) - 0.5 for name in ("image", "unlabeled_image")}
    label = torch.randint(NUM_CLASSES, (job.batch_size, job.pixels, job.pixels), generator=random)
    return {name: tensor.to(job.device) for name, tensor in {**images, "label": label}.items()}
