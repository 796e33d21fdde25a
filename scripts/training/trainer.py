"""The one engine: it steps generators and discriminators in turn, whatever the objective."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from scripts.errors import InputError
from scripts.objectives.interface import Objective
from scripts.training import processes
from scripts.training.finite import FiniteGuard
from scripts.training.losses import StepLosses
from scripts.training.pool import FakePool
from scripts.training.precision import Precision

WITHOUT_EFFECT = ("amp", "amp_kwargs", "compile_kwargs", "iteration_update", "prepare_batch", "to_kwargs")
"""Options of MONAI's trainer for what is done otherwise here."""


@runtime_checkable
class Positioned(Protocol):
    """Data that can start at any batch, as ``scripts.data.unpaired.UnpairedBatches`` can."""

    position: int


class Stateful(Protocol):
    """A handler with something to remember from stop to resume, in plain containers and tensors."""

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> None: ...


class AlternatingTrainer(SupervisedTrainer):
    """Alternating updates: generators against frozen discriminators, discriminators on pooled, detached fakes.

    A batch is a dict: ``image`` (B, C, H, W) float, ``label`` (B, H, W) int64, ``unlabeled_image`` (B', C, H, W)
    float, and optionally ``files``, names for error messages. The trainer adds the objective's ``schedule`` of the share
    of all iterations that are done. After an iteration ``state.output`` holds every named
    term as a detached scalar on the device, their weighted sum as ``loss``, and ``image``, ``label``, ``pred``; after
    an epoch ``state.metrics`` holds the mean of each over its iterations, 0 where it is not active. MONAI's iteration events are those of the generators' update.

    Args:
        objective: networks and terms.
        optimizer: of the generators.
        discriminator_optimizer: of the discriminators; None if the objective has none.
        lr_schedule: 0-based epoch to factor of the learning rate, for both optimizers; None keeps it.
        precision: see ``Precision``.
        clip_norm: largest gradient norm, for generators and for discriminators; None does not clip.
        pool_size: see ``FakePool``.
        seed: of the pools.
        finite_check_interval: iterations between looks for a non-finite term; None: 1 on the CPU, 50 on CUDA.
        compile: see ``StepLosses``; the first steps then take minutes.
        channels_last: whether networks and images lie in memory with the channels last.
        train_handlers: in the order in which they shall act; None (a disabled one in a config) is passed over.
        **trainer_options: of MONAI's ``SupervisedTrainer`` (device, max_epochs, train_data_loader,
            accumulation_steps, ...). Its ``network`` and ``loss_function`` are the objective's segmentor and total;
            ``inferer`` is kept for others to use.

    Raises:
        TypeError: for an option of MONAI's that would be without effect here (``amp``: see ``precision``).
        InputError: an unknown ``precision`` or ``compile``, or CUDA graphs with accumulation.
        ValueError: for data of unknown length without an ``epoch_length``, a ``clip_norm`` that is not positive, or
            discriminators without an optimizer.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        discriminator_optimizer: Optimizer | None,
        lr_schedule: Callable[[int], float] | None = None,
        precision: str = "auto",
        clip_norm: float | None = None,
        pool_size: int = 50,
        seed: int = 0,
        finite_check_interval: int | None = None,
        compile: bool | str = False,
        channels_last: bool = False,
        train_handlers: Iterable | None = None,
        **trainer_options: Any,
    ) -> None:
        _check_options(trainer_options, clip_norm)
        if discriminator_optimizer is None and any(True for _ in objective.discriminators.parameters()):
            raise ValueError("the objective has discriminators, but discriminator_optimizer is None: give one.")
        defaults: dict[str, Any] = {"decollate": False, "optim_set_to_none": True, "non_blocking": True}
        super().__init__(
            network=objective.generators["segmentor"],
            optimizer=optimizer,
            loss_function=objective.weights.total,
            **(defaults | trainer_options),
        )
        if self.state.epoch_length is None:
            raise ValueError("the training data has no length: give epoch_length, the number of batches in an epoch.")
        self.objective = objective
        processes.synchronize_batch_norm(objective.generators, self.state.device)
        processes.synchronize_batch_norm(objective.discriminators, self.state.device)
        self.losses = StepLosses(objective, compile, self.state.device)
        if self.losses.graphs and self.accumulation_steps > 1:
            raise InputError(
                "compile with CUDA graphs overwrites gradients that wait for more batches: give accumulation_steps 1, or "
                "compile 'inductor', which compiles without graphs."
            )
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        if channels_last:
            for networks in (objective.generators, objective.discriminators):
                nn.utils.convert_conv2d_weight_memory_format(networks, torch.channels_last)
        sides = {"generators": optimizer, "discriminators": discriminator_optimizer}
        self.optimizers = {side: optimizer for side, optimizer in sides.items() if optimizer is not None}
        self.precision = Precision(precision, self.state.device)
        self.scalers = {side: self.precision.scaler() for side in self.optimizers}
        self.clip_norm = clip_norm
        self.pools = {
            name: FakePool(pool_size, seed + i + len(objective.discriminators) * processes.rank())
            for i, name in enumerate(objective.discriminators)
        }
        factor = lr_schedule or (lambda epoch: 1.0)
        self.schedulers = {side: LambdaLR(optimizer, factor) for side, optimizer in self.optimizers.items()}
        on_cuda = self.state.device.type == "cuda"
        self.guard = FiniteGuard((50 if on_cuda else 1) if finite_check_interval is None else finite_check_interval)
        self._sums: dict[str, Tensor] = {}
        self._summed = 0
        self.on_exit = ExitStack()
        self.stateful: dict[str, Stateful] = {}  # handlers whose memory is saved with the training's
        self.add_event_handler(Events.STARTED, AlternatingTrainer._share_weights)
        self.add_event_handler(Events.EPOCH_STARTED, AlternatingTrainer._start_epoch)
        self.add_event_handler(Events.EPOCH_COMPLETED, AlternatingTrainer._complete_epoch)
        # After the engine's own, so that handlers of an epoch's end see its means and the next learning rate.
        self._register_handlers([handler for handler in train_handlers or () if handler is not None])

    def run(self) -> None:  # type: ignore[override]  # MONAI's workflows take none of ignite's arguments
        """Train up to ``state.max_epochs``; what handlers left in ``on_exit`` is done at the end, however it comes.

        Called again with more epochs (MONAI's federated client does), it goes on where it stopped, in the data too.
        """
        if isinstance(self.data_loader, Positioned):
            self.data_loader.position = self.state.iteration
        with self.on_exit:
            super().run()

    @property
    def progress(self) -> float:
        """Share of all iterations that were done before the current one, in [0, 1)."""
        return (self.state.iteration - 1) / (self.state.epoch_length * self.state.max_epochs)

    @property
    def accumulating(self) -> bool:
        """Whether gradients wait for more batches: not between the last step of an accumulation and the next batch."""
        done, size = self._window()
        return done < size

    def _window(self) -> tuple[int, int]:
        """Batches of the current accumulation, so far and in all; the last of an epoch may be a short one."""
        before = (self.state.iteration - 1) % self.state.epoch_length
        first = before - before % self.accumulation_steps
        return before - first + 1, min(self.accumulation_steps, self.state.epoch_length - first)

    def _iteration(self, engine: Any, batchdata: Mapping[str, Any]) -> Any:
        """One step. The protocol: freeze D, translate, update G; unfreeze D, update D on pooled fakes."""
        objective, losses, guard, iteration = self.objective, self.losses, self.guard, self.state.iteration
        batch = self._to_device(batchdata) | self._scheduled()
        files = batch.pop("files", ())
        self.state.output = {Keys.IMAGE: batch["image"], Keys.LABEL: batch["label"]}
        objective.generators.train()
        objective.discriminators.train()
        losses.begin()

        # 1. Generators, judged by frozen discriminators.
        with frozen(objective.discriminators):
            with self.precision.autocast():
                loss, terms, translated = losses.generators(batch)
            if "logits" in translated:
                self.state.output[Keys.PRED] = translated["logits"].detach()
            self.fire_event(IterationEvents.FORWARD_COMPLETED)
            self._put_out({Keys.LOSS: loss, **terms})
            self.fire_event(IterationEvents.LOSS_COMPLETED)
            guard.watch(iteration, terms, files)
            self._backward("generators", loss)
            self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        self._step("generators")

        # 2. Discriminators, on fakes that no gradient leaves.
        fakes = {name: self.pools[name].exchange(fake) for name, fake in objective.fakes(translated).items()}
        if fakes:
            with self.precision.autocast():
                translated = {name: tensor.detach() for name, tensor in translated.items()}
                loss, terms = losses.discriminators(batch, translated, fakes)
            self._put_out(terms)
            guard.watch(iteration, terms, files)
            self._backward("discriminators", loss)
            self._step("discriminators")

        self._summed += 1
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _put_out(self, values: Mapping[str, Tensor]) -> None:
        """Put scalars into the iteration's output and add them to the epoch's sums."""
        for name, value in values.items():
            self.state.output[name] = value.detach()
            self._sums[name] = self._sums.get(name, 0) + value.detach().float()

    def _backward(self, side: str, loss: Tensor) -> None:
        """Add the gradients of ``loss``, as its share of an accumulation's mean."""
        self.scalers[side].scale(loss / self._window()[1]).backward()

    def _step(self, side: str) -> None:
        """At the end of an accumulation: clip, step and clear the gradients."""
        if self.accumulating:
            return
        optimizer, scaler = self.optimizers[side], self.scalers[side]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        processes.average_gradients(parameters)
        if self.clip_norm is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=self.optim_set_to_none)

    def _scheduled(self) -> dict[str, Any]:
        """What the objective changes with the share of the training that is done; numbers as scalars on the device, since a
        compiled function takes another number for another program."""
        schedule, device = self.objective.schedule(self.progress), self.state.device
        return {n: torch.full((), v, device=device) if isinstance(v, float) else v for n, v in schedule.items()}

    def _to_device(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        def move(value: Any) -> Any:
            if not torch.is_tensor(value):
                return value
            value = value.to(self.state.device, non_blocking=self.non_blocking)
            return value.contiguous(memory_format=self.layout) if value.ndim == 4 else value

        return {name: move(value) for name, value in batch.items()}

    def _share_weights(self) -> None:
        processes.share_weights(self.objective.generators)
        processes.share_weights(self.objective.discriminators)

    def _start_epoch(self) -> None:
        # An epoch that was broken off leaves neither sums nor gradients to this one, nor a term that has ended its mean.
        for name in self._sums:
            self.state.metrics.pop(name, None)
        self._sums = {}
        self._summed = 0
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=self.optim_set_to_none)

    def _complete_epoch(self) -> None:
        self.guard.check()
        means = processes.averaged({name: value / self._summed for name, value in self._sums.items()})
        self.state.metrics |= {name: float(value) for name, value in means.items()}
        with warnings.catch_warnings():
            # The discriminators take no step while no adversarial term is active; their schedule goes on.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            for scheduler in self.schedulers.values():
                scheduler.step()


@contextmanager
def frozen(networks: nn.Module) -> Iterator[None]:
    """Within, the parameters of ``networks`` take no gradient; gradients still flow through to their inputs."""
    learning = [parameter for parameter in networks.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _check_options(options: Mapping[str, Any], clip_norm: float | None) -> None:
    ineffective = [name for name in WITHOUT_EFFECT if options.get(name)]
    if ineffective:
        raise TypeError(
            f"{', '.join(ineffective)} would be without effect: the objective and the option precision decide how a "
            "step is computed."
        )
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"clip_norm must be positive, or None not to clip, got {clip_norm}.")
