"""The one engine: it steps generators and discriminators in turn, whatever the objective."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any, Protocol

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from scripts.training.finite import FiniteGuard
from scripts.training.pool import FakePool
from scripts.training.precision import Precision


class WeightedSum(Protocol):
    """Turns named terms into the scalar to minimise."""

    def total(self, terms: Mapping[str, Tensor]) -> Tensor: ...


class Objective(Protocol):
    """The mathematics of a method; ``scripts.objectives.cyclegan`` is the model to read."""

    generators: nn.ModuleDict
    discriminators: nn.ModuleDict

    @property
    def weights(self) -> WeightedSum: ...

    def translate(self, batch: Mapping[str, Any]) -> dict[str, Tensor]: ...

    def generator_terms(self, batch: Mapping[str, Any], t: Mapping[str, Tensor]) -> dict[str, Tensor]: ...

    def fakes(self, t: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, ...]]: ...

    def discriminator_terms(
        self, batch: Mapping[str, Any], t: Mapping[str, Tensor], fakes: Mapping[str, tuple[Tensor, ...]]
    ) -> dict[str, Tensor]: ...


class AlternatingTrainer(SupervisedTrainer):
    """Alternating updates: generators against frozen discriminators, discriminators on pooled, detached fakes.

    A batch is a dict: ``image`` (B, C, H, W) float, ``label`` (B, H, W) int64, ``unlabeled_image`` (B', C, H, W)
    float, and optionally ``files``, names for error messages. After an iteration ``state.output`` holds every named
    term as a detached scalar on the device, their weighted sum as ``loss``, and ``image``, ``label``, ``pred``; after
    an epoch ``state.metrics`` holds the mean of each term.

    Args:
        objective: networks and terms.
        optimizer: of the generators.
        discriminator_optimizer: of the discriminators.
        lr_schedule: 0-based epoch to factor of the learning rate, for both optimizers; None keeps it.
        precision: see ``Precision``.
        clip_norm: largest gradient norm, for generators and for discriminators; None does not clip.
        pool_size: see ``FakePool``.
        seed: of the pools.
        finite_check_interval: iterations between looks for a non-finite term; None: 1 on the CPU, 50 on CUDA.
        **trainer_options: of MONAI's ``SupervisedTrainer`` (device, max_epochs, train_data_loader,
            accumulation_steps, ...). ``network`` is the objective's segmentor.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        lr_schedule: Callable[[int], float] | None = None,
        precision: str = "auto",
        clip_norm: float | None = None,
        pool_size: int = 50,
        seed: int = 0,
        finite_check_interval: int | None = None,
        train_handlers: Iterable | None = None,
        **trainer_options: Any,
    ) -> None:
        trainer_options = {
            "network": objective.generators["segmentor"],
            "loss_function": objective.weights.total,
            "decollate": False,
            "optim_set_to_none": True,
        } | trainer_options
        super().__init__(optimizer=optimizer, **trainer_options)
        self.objective = objective
        self.discriminator_optimizer = discriminator_optimizer
        self.precision = Precision(precision, self.state.device)
        self.scalers = {"generators": self.precision.scaler(), "discriminators": self.precision.scaler()}
        self.clip_norm = clip_norm
        self.pools = {name: FakePool(pool_size, seed + i) for i, name in enumerate(objective.discriminators)}
        factor = lr_schedule or (lambda epoch: 1.0)
        self.schedulers = [LambdaLR(o, factor) for o in (optimizer, discriminator_optimizer)]
        on_cuda = self.state.device.type == "cuda"
        self.guard = FiniteGuard(finite_check_interval or (50 if on_cuda else 1))
        self.on_exit = ExitStack()
        self._sums: dict[str, Tensor] = {}
        self._summed = 0
        self.add_event_handler(Events.EPOCH_COMPLETED, AlternatingTrainer._complete_epoch)
        # After the engine's own, so that handlers of an epoch's end see its means and the next learning rate.
        self._register_handlers(list(train_handlers or []))

    def run(self) -> None:
        """Train; what handlers left in ``on_exit`` is done at the end, however it comes."""
        with self.on_exit:
            super().run()

    @property
    def accumulating(self) -> bool:
        """Whether gradients wait for more batches: not between the last step of an accumulation and the next batch."""
        in_epoch = (self.state.iteration - 1) % self.state.epoch_length + 1
        return bool(in_epoch % self.accumulation_steps) and in_epoch != self.state.epoch_length

    def _iteration(self, engine: Any, batchdata: Mapping[str, Any]) -> dict[str, Tensor]:
        """One step. The protocol: freeze D, translate, update G; unfreeze D, update D on pooled fakes."""
        objective = self.objective
        batch = self._to_device(batchdata)
        objective.generators.train()
        objective.discriminators.train()

        # 1. Generators, judged by frozen discriminators.
        objective.discriminators.requires_grad_(False)
        with self.precision.autocast():
            translated = objective.translate(batch)
            self.fire_event(IterationEvents.FORWARD_COMPLETED)
            terms = objective.generator_terms(batch, translated)
            loss = objective.weights.total(terms)
        self.fire_event(IterationEvents.LOSS_COMPLETED)
        self.guard.watch(self.state.iteration, terms, batch.get("files", ()))
        self._update("generators", self.optimizer, loss)

        # 2. Discriminators, on fakes that no gradient leaves.
        objective.discriminators.requires_grad_(True)
        fakes = {name: self.pools[name].exchange(fake) for name, fake in objective.fakes(translated).items()}
        if fakes:
            with self.precision.autocast():
                discriminator_terms = objective.discriminator_terms(batch, translated, fakes)
                discriminator_loss = torch.stack(list(discriminator_terms.values())).sum()
            self.guard.watch(self.state.iteration, discriminator_terms, batch.get("files", ()))
            self._update("discriminators", self.discriminator_optimizer, discriminator_loss)
            terms |= discriminator_terms
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)

        output = {Keys.LOSS: loss.detach()} | {name: term.detach() for name, term in terms.items()}
        for name, value in output.items():
            self._sums[name] = self._sums.get(name, 0) + value.float()
        self._summed += 1
        output |= {Keys.IMAGE: batch["image"], Keys.LABEL: batch["label"]}
        if "logits" in translated:
            output[Keys.PRED] = translated["logits"].detach()
        self.state.output = output
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _update(self, side: str, optimizer: Optimizer, loss: Tensor) -> None:
        """Backward, and at the end of an accumulation (or of the epoch) clip, step and clear the gradients."""
        scaler = self.scalers[side]
        scaler.scale(loss / self.accumulation_steps).backward()
        if self.accumulating:
            return
        if self.clip_norm is not None:
            scaler.unscale_(optimizer)
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=self.optim_set_to_none)

    def _to_device(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        def move(value: Any) -> Any:
            return value.to(self.state.device, non_blocking=self.non_blocking) if torch.is_tensor(value) else value

        return {name: move(value) for name, value in batch.items()}

    def _complete_epoch(self) -> None:
        self.guard.check()
        self.state.metrics |= {name: float(value) / self._summed for name, value in self._sums.items()}
        self._sums, self._summed = {}, 0
        for scheduler in self.schedulers:
            if scheduler.optimizer.state:  # the discriminators' is empty while no adversarial term is active
                scheduler.step()
