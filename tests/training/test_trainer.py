"""The engine: its step against one written out by hand, and everything around the step."""

import copy
import math
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.handlers import from_engine
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.networks.pixel_discriminator import PixelDiscriminator
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.objectives.cyclegan import CycleGANObjective, CycleGANWeights
from scripts.training.finite import NonFiniteLossError
from scripts.training.schedule import ConstantThenLinear
from scripts.training.trainer import AlternatingTrainer, frozen

CLASSES = 3
NOTHING = dict.fromkeys(CycleGANWeights.__dataclass_fields__, 0.0)
SUPERVISED = NOTHING | {"segmentation": 1.0}
WITHOUT_DISCRIMINATORS = {"mask_adversarial": 0.0, "image_adversarial": 0.0}
GENERATOR_TERMS = set(NOTHING)
ALL_TERMS = GENERATOR_TERMS | {"mask_discriminator", "image_discriminator"}
LEARNING_RATE, BETAS = 2e-3, (0.5, 0.999)
# In double precision. Biases before an instance norm have no gradient but rounding, and Adam enlarges that: by steps of
# up to 1e-15 / 1e-8 of the learning rate. A real update is of the learning rate's size.
TOLERANCE = {"rtol": 1e-8, "atol": 1e-8}

Batch = dict[str, Any]


def make_batches(count: int, size: int = 2, void: bool = True, dtype: torch.dtype = torch.float32) -> list[Batch]:
    generator = torch.Generator().manual_seed(3)
    batches = []
    for number in range(count):
        label = torch.randint(0, CLASSES, (size, 8, 8), generator=generator)
        if void:
            label[0, : number + 1, :5] = 255
        images = {k: torch.randn(size, 1, 8, 8, generator=generator).to(dtype) for k in ("image", "unlabeled_image")}
        batches.append(images | {"label": label, "files": [f"batch{number}.nii.gz"]})
    return batches


def make_objective(weights: dict | None = None, mask_input: str = "soft", filters: int = 2) -> CycleGANObjective:
    torch.manual_seed(0)
    return CycleGANObjective(
        ResNetGenerator(1, CLASSES, filters, blocks=1),
        ResNetGenerator(CLASSES, 1, filters, blocks=1, activation="tanh"),
        PixelDiscriminator(CLASSES, filters),
        PixelDiscriminator(1, filters),
        CLASSES,
        weights,
        mask_input,
    )


def make_trainer(objective: CycleGANObjective, batches: list[Batch], **options: Any) -> AlternatingTrainer:
    sides = (objective.generators, objective.discriminators)
    optimizer, discriminator_optimizer = (torch.optim.Adam(s.parameters(), LEARNING_RATE, BETAS) for s in sides)
    defaults = {
        "optimizer": optimizer,
        "discriminator_optimizer": discriminator_optimizer,
        "max_epochs": 1,
        "device": "cpu",
    }
    return AlternatingTrainer(objective=objective, train_data_loader=batches, **(defaults | options))


def train(weights: dict | None, batches: list[Batch], **options: Any) -> AlternatingTrainer:
    trainer = make_trainer(make_objective(weights), batches, **options)
    trainer.run()
    return trainer


def weights_of(objective: CycleGANObjective) -> dict[str, Tensor]:
    """Copies of all learned tensors of the four networks."""
    sides = (objective.generators, objective.discriminators)
    return {name: p.detach().clone() for side in sides for name, p in side.named_parameters()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """The networks of which some weight differs."""
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


class HandAdam:
    """Adam as its paper writes it, without torch's."""

    def __init__(self, *networks: nn.Module) -> None:
        self.parameters = [p for network in networks for p in network.parameters()]
        self.m = [torch.zeros_like(p) for p in self.parameters]
        self.v = [torch.zeros_like(p) for p in self.parameters]
        self.t = 0

    def step(self, loss: Tensor) -> None:
        self.t += 1
        gradients = torch.autograd.grad(loss, self.parameters)
        with torch.no_grad():
            for p, g, m, v in zip(self.parameters, gradients, self.m, self.v, strict=True):
                m.mul_(BETAS[0]).add_((1 - BETAS[0]) * g)
                v.mul_(BETAS[1]).add_((1 - BETAS[1]) * g**2)
                p -= LEARNING_RATE * (m / (1 - BETAS[0] ** self.t)) / ((v / (1 - BETAS[1] ** self.t)).sqrt() + 1e-8)


class HandWrittenStep:
    """The paper's step in plain torch, every pass by itself."""

    def __init__(self, objective: CycleGANObjective, mask_input: str) -> None:
        self.generators = copy.deepcopy(objective.generators)
        self.discriminators = copy.deepcopy(objective.discriminators)
        self.hard = mask_input == "straight-through"
        self.adam_g, self.adam_d = HandAdam(self.generators), HandAdam(self.discriminators)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        g_is, g_si = self.generators["segmentor"], self.generators["image_generator"]
        d_s, d_i = self.discriminators["mask_discriminator"], self.discriminators["image_discriminator"]
        x, y, x_unlabeled = batch["image"], batch["label"], batch["unlabeled_image"]
        known = (y != 255).to(x.dtype)[:, None]
        y_mask = torch.stack([y == k for k in range(CLASSES)], 1).to(x.dtype)

        mask = torch.softmax(g_is(x_unlabeled), 1)
        if self.hard:
            mask = F.one_hot(mask.argmax(1), CLASSES).movedim(-1, 1) + mask - mask.detach()
        image = g_si(y_mask)
        terms = {
            "segmentation": F.cross_entropy(g_is(x), y, ignore_index=255),
            "image_reconstruction": ((image - x) ** 2 * known).sum() / known.sum(),
            "mask_cycle": F.cross_entropy(g_is(image), y, ignore_index=255),
            "image_cycle": (g_si(mask) - x_unlabeled).abs().mean(),
            "mask_adversarial": ((d_s(mask) - 1) ** 2).mean(),
            "image_adversarial": ((d_i(image) - 1) ** 2 * known).sum() / known.sum(),
        }
        loss = sum(terms.values()) - 0.95 * terms["mask_cycle"]
        self.adam_g.step(loss)

        mask, image = mask.detach(), image.detach()
        real = ((d_s(y_mask) - 1) ** 2 * known).sum() / known.sum()
        terms["mask_discriminator"] = (real + (d_s(mask) ** 2).mean()) / 2
        fake = (d_i(x_unlabeled) - 1) ** 2
        terms["image_discriminator"] = (fake.mean() + (d_i(image) ** 2 * known).sum() / known.sum()) / 2
        self.adam_d.step(terms["mask_discriminator"] + terms["image_discriminator"])
        return {name: term.detach() for name, term in terms.items()} | {"loss": loss.detach()}


@pytest.mark.parametrize("mask_input", ["soft", "straight-through"])
@pytest.mark.parametrize("pool_size", [0, 50])
def test_steps_equal_those_written_by_hand(mask_input: str, pool_size: int) -> None:
    objective = make_objective(mask_input=mask_input)
    objective.generators.double()
    objective.discriminators.double()
    by_hand = HandWrittenStep(objective, mask_input)
    batches = make_batches(3, dtype=torch.float64)
    expected = []

    def compare(trainer: AlternatingTrainer) -> None:
        expected.append(by_hand(batches[trainer.state.iteration - 1]))
        for name, value in expected[-1].items():
            torch.testing.assert_close(trainer.state.output[name], value, **TOLERANCE)
        for side in ("generators", "discriminators"):  # with the running statistics of the discriminators' norm
            actual, wanted = getattr(objective, side).state_dict(), getattr(by_hand, side).state_dict()
            torch.testing.assert_close(actual, wanted, **TOLERANCE)

    trainer = make_trainer(objective, batches, pool_size=pool_size)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, compare)
    before = weights_of(objective)
    trainer.run()
    assert len(expected) == 3
    assert changed(before, weights_of(objective)) == {
        "segmentor",
        "image_generator",
        "mask_discriminator",
        "image_discriminator",
    }


@pytest.mark.parametrize("term", sorted(GENERATOR_TERMS))
def test_single_batch_is_overfitted(term: str) -> None:
    objective = make_objective(NOTHING | {term: 1.0}, filters=4)
    for discriminator in objective.discriminators.values():
        discriminator.layers[-1].weight.data *= 200  # scores as far from each other as a trained one's
    still = torch.optim.SGD(objective.discriminators.parameters(), lr=0.0)
    trainer = make_trainer(objective, make_batches(1, void=False) * 60, discriminator_optimizer=still)
    values: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: values.append(e.state.output[term].item()))
    trainer.run()
    assert values[-1] < 0.6 * values[0], f"{values[0]:.3f} to {values[-1]:.3f}"


def test_two_batches_accumulated_equal_one_of_twice_the_size() -> None:
    def final_weights(batches: list[Batch], **options: Any) -> dict[str, Tensor]:
        objective = make_objective(WITHOUT_DISCRIMINATORS)
        objective.generators.double()
        make_trainer(objective, batches, max_epochs=2, **options).run()
        return weights_of(objective)

    small = make_batches(3, void=False, dtype=torch.float64)
    merged = {name: torch.cat([batch[name] for batch in small[:2]]) for name in ("image", "label", "unlabeled_image")}
    # Three batches by twos: the epoch's end leaves the third alone, and it counts in full.
    accumulated = final_weights(small, accumulation_steps=2)
    torch.testing.assert_close(accumulated, final_weights([merged, small[2]]), **TOLERANCE)


@pytest.mark.parametrize(("steps", "expected"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (3, [3, 5]), (9, [5])])
def test_accumulation_ends_with_the_epoch(steps: int, expected: list[int]) -> None:
    trainer = make_trainer(make_objective(), make_batches(5), accumulation_steps=steps, max_epochs=2)
    updates: dict[str, list[int]] = {"generators": [], "discriminators": []}
    stopped: list[int] = []
    for name, optimizer in trainer.optimizers.items():
        optimizer.register_step_post_hook(lambda *_, name=name: updates[name].append(trainer.state.iteration))

    @trainer.on(Events.ITERATION_COMPLETED)
    def note() -> None:
        if not trainer.accumulating:
            stopped.append(trainer.state.iteration)

    trainer.run()
    both_epochs = expected + [5 + iteration for iteration in expected]
    assert updates == {"generators": both_epochs, "discriminators": both_epochs}
    assert stopped == both_epochs


@pytest.mark.parametrize(("accumulation_steps", "precision"), [(1, "float32"), (2, "float32"), (1, "float16")])
def test_clipping_bounds_the_norm_of_a_gradient(accumulation_steps: int, precision: str) -> None:
    def update_norms(clip_norm: float | None) -> dict[str, float]:
        objective = make_objective()
        before = weights_of(objective)
        optimizers = {
            "optimizer": torch.optim.SGD(objective.generators.parameters(), lr=1.0),
            "discriminator_optimizer": torch.optim.SGD(objective.discriminators.parameters(), lr=1.0),
        }
        options = {"clip_norm": clip_norm, "accumulation_steps": accumulation_steps, "precision": precision}
        trainer = make_trainer(objective, make_batches(accumulation_steps), **optimizers, **options)
        if precision == "float16":  # a scale that overflows nothing, and must not count as part of the norm
            trainer.scalers = {side: torch.amp.GradScaler("cpu", init_scale=8.0) for side in trainer.scalers}
        trainer.run()
        after = weights_of(objective)
        sides = {"generators": objective.generators, "discriminators": objective.discriminators}
        return {
            side: math.sqrt(sum(((after[n] - before[n]) ** 2).sum().item() for n, _ in networks.named_parameters()))
            for side, networks in sides.items()
        }

    free = update_norms(None)
    limit = 0.1 * min(free.values())
    assert update_norms(limit) == pytest.approx(dict.fromkeys(free, limit), rel=1e-3)
    assert update_norms(10 * max(free.values())) == pytest.approx(free, rel=1e-3)


@pytest.mark.parametrize(
    ("image", "bad_terms"),
    [
        ("image", "segmentation = nan, image_reconstruction = nan"),
        ("unlabeled_image", "image_cycle = nan, mask_adversarial = nan"),
    ],
)
def test_term_that_is_not_finite_stops_before_any_weight_is_touched(image: str, bad_terms: str) -> None:
    batches = make_batches(3)
    batches[1][image][0, 0, 0, 0] = math.nan
    objective = make_objective()
    trainer = make_trainer(objective, batches)
    good: list[dict[str, Tensor]] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: good.append(weights_of(objective)))
    with pytest.raises(NonFiniteLossError, match=rf"loss term {bad_terms} at iteration 2; batch of batch1\.nii\.gz"):
        trainer.run()
    assert len(good) == 1
    assert changed(good[0], weights_of(objective)) == set()
    assert all(p.requires_grad for p in objective.discriminators.parameters())


@pytest.mark.parametrize(("interval", "found_in"), [(3, 3), (50, 5)])
def test_rarer_looks_find_the_iteration_later_but_before_the_epoch_is_over(interval: int, found_in: int) -> None:
    batches = make_batches(5)
    batches[1]["image"][0, 0, 0, 0] = math.nan
    trainer = make_trainer(make_objective(), batches, finite_check_interval=interval)
    ended: list[int] = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: ended.append(1))
    with pytest.raises(NonFiniteLossError, match=r"at iteration 2; batch of batch1\.nii\.gz"):
        trainer.run()
    assert trainer.state.iteration == found_in
    assert ended == [], "what comes at an epoch's end, as saving the state, is not reached"


def test_output_holds_every_term_and_what_a_metric_reads() -> None:
    batches = make_batches(1)
    trainer = train(None, batches)
    output = trainer.state.output
    assert set(output) == ALL_TERMS | {"loss", "image", "label", "pred"}
    for name in ALL_TERMS | {"loss"}:
        assert output[name].ndim == 0
        assert not output[name].requires_grad
    total = CycleGANWeights().total({name: output[name] for name in GENERATOR_TERMS})
    torch.testing.assert_close(output["loss"], total)
    assert torch.equal(output["image"], batches[0]["image"])
    assert torch.equal(output["label"], batches[0]["label"])
    assert output["pred"].shape == (2, CLASSES, 8, 8)
    assert not output["pred"].requires_grad


def test_monais_iteration_events_come_in_order_with_what_they_promise() -> None:
    objective = make_objective()
    trainer = make_trainer(objective, make_batches(1))
    start, seen = weights_of(objective), []

    def note(name: str) -> None:
        with_gradient = any(p.grad is not None for p in objective.generators.parameters())
        seen.append(
            (name, set(trainer.state.output) & {"pred", "loss"}, with_gradient, changed(start, weights_of(objective)))
        )

    for event in IterationEvents:
        trainer.add_event_handler(event, note, event.name)
    trainer.run()
    networks = {"segmentor", "image_generator", "mask_discriminator", "image_discriminator"}
    assert seen == [
        ("FORWARD_COMPLETED", {"pred"}, False, set()),
        ("LOSS_COMPLETED", {"pred", "loss"}, False, set()),
        ("BACKWARD_COMPLETED", {"pred", "loss"}, True, set()),
        ("MODEL_COMPLETED", {"pred", "loss"}, False, networks),
    ]


def test_metrics_are_means_over_the_epoch_and_handlers_see_them() -> None:
    epochs: list[dict[str, list[float]]] = []
    reported: list[dict[str, float]] = []

    class Reporter:
        def attach(self, engine: AlternatingTrainer) -> None:
            engine.add_event_handler(Events.EPOCH_STARTED, lambda: epochs.append({}))
            engine.add_event_handler(Events.ITERATION_COMPLETED, self.note)
            engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: reported.append(dict(e.state.metrics)))

        def note(self, engine: AlternatingTrainer) -> None:
            for name in ALL_TERMS | {"loss"}:
                epochs[-1].setdefault(name, []).append(engine.state.output[name].item())

    train(None, make_batches(3), max_epochs=2, train_handlers=[None, Reporter()])
    assert len(reported) == 2
    for metrics, values in zip(reported, epochs, strict=True):
        assert metrics == pytest.approx({name: sum(v) / 3 for name, v in values.items()})


@pytest.mark.parametrize("weights", [None, SUPERVISED])
def test_schedule_drives_both_optimizers_whether_they_step_or_wait(weights: dict | None) -> None:
    trainer = make_trainer(make_objective(weights), make_batches(2), max_epochs=4, lr_schedule=ConstantThenLinear(4, 2))
    rates: list[tuple[float, float]] = []

    @trainer.on(Events.EPOCH_STARTED)
    def note() -> None:
        rates.append(tuple(o.param_groups[0]["lr"] / LEARNING_RATE for o in trainer.optimizers.values()))

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of a scheduler that steps before its optimizer
        trainer.run()
    generators, discriminators = zip(*rates, strict=True)
    assert generators == pytest.approx((1, 1, 1, 0.5))
    assert discriminators == generators


def test_a_term_that_has_ended_has_no_mean_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, seen = make_objective(), []
    trainer = make_trainer(objective, make_batches(1), max_epochs=2)
    whole = objective.generator_terms

    def ending(batch: dict, t: dict) -> dict:
        terms = whole(batch, t)
        return {n: term for n, term in terms.items() if n != "image_cycle" or trainer.state.epoch == 1}

    monkeypatch.setattr(objective, "generator_terms", ending)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda e: seen.append(set(e.state.metrics)))
    trainer.run()
    assert seen[0] - seen[1] == {"image_cycle"}
    assert seen[1] < seen[0]


def test_supervised_only_needs_no_unlabeled_images_and_trains_the_segmentor_alone() -> None:
    batches = [{name: batch[name] for name in ("image", "label")} for batch in make_batches(2)]
    objective = make_objective(SUPERVISED)
    before = weights_of(objective)
    trainer = make_trainer(objective, batches)
    trainer.run()
    assert changed(before, weights_of(objective)) == {"segmentor"}
    assert set(trainer.state.output) == {"segmentation", "loss", "image", "label", "pred"}
    assert set(trainer.state.metrics) == {"segmentation", "loss"}


def test_prediction_is_left_out_where_no_term_reads_it() -> None:
    assert "pred" not in train(NOTHING | {"image_cycle": 1.0}, make_batches(1)).state.output


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_passes_train_single_precision_weights(precision: str) -> None:
    formats: list[torch.dtype] = []
    objective = make_objective()
    objective.generators["segmentor"].register_forward_hook(lambda m, i, output: formats.append(output.dtype))
    before = weights_of(objective)
    trainer = make_trainer(objective, make_batches(2) * 8, precision=precision, clip_norm=1.0)
    trainer.run()
    after = weights_of(objective)
    assert set(formats) == {getattr(torch, precision)}
    assert len(changed(before, after)) == 4
    assert all(weight.dtype == torch.float32 and torch.isfinite(weight).all() for weight in after.values())
    assert all(math.isfinite(trainer.state.metrics[name]) for name in ALL_TERMS)


def test_float16_gradient_that_overflows_is_skipped_on_its_side_alone() -> None:
    objective = make_objective()
    trainer = make_trainer(objective, make_batches(1), precision="float16")
    for side, scale in (("generators", 2.0**127), ("discriminators", 1.0)):
        trainer.scalers[side] = torch.amp.GradScaler("cpu", init_scale=scale)
    before = weights_of(objective)
    trainer.run()
    assert changed(before, weights_of(objective)) == {"mask_discriminator", "image_discriminator"}
    assert trainer.scalers["generators"].get_scale() == 2.0**126
    assert trainer.scalers["discriminators"].get_scale() == 1.0


def test_is_what_monais_federated_client_accepts() -> None:
    objective = make_objective()
    trainer = make_trainer(objective, make_batches(1))
    assert isinstance(trainer, SupervisedTrainer)
    assert trainer.network is objective.generators["segmentor"]
    assert {id(p) for p in trainer.optimizer.param_groups[0]["params"]} == {
        id(p) for p in objective.generators.parameters()
    }
    terms = {"segmentation": torch.tensor(2.0), "mask_cycle": torch.tensor(4.0)}
    assert trainer.loss_function(terms).item() == pytest.approx(2.2)
    assert trainer.get_stats()["total_epochs"] == 1


class EndlessBatches:
    """Batches that can start anywhere, and remember where they were asked to."""

    def __init__(self, batches: list[Batch], epoch_length: int) -> None:
        self.batches, self.epoch_length = batches, epoch_length
        self.position = 0
        self.served: list[int] = []

    def __len__(self) -> int:
        return self.epoch_length

    def __iter__(self) -> Iterator[Batch]:
        position = self.position
        while True:
            self.served.append(position)
            yield self.batches[position % len(self.batches)]
            position += 1


def test_rounds_of_a_federated_client_equal_one_long_run() -> None:
    def run(rounds: list[int]) -> tuple[dict[str, Tensor], list[int]]:
        data = EndlessBatches(make_batches(6), epoch_length=2)
        trainer = make_trainer(make_objective(), data, max_epochs=0, lr_schedule=ConstantThenLinear(3, 1))
        for epochs in rounds:
            trainer.state.max_epochs = trainer.state.epoch + epochs
            trainer.run()
        assert trainer.state.iteration == 6
        return weights_of(trainer.objective), data.served

    in_rounds, served = run([1, 2])
    at_once, expected = run([3])
    assert served == expected == [0, 1, 2, 3, 4, 5]
    assert changed(in_rounds, at_once) == set()


def test_decollating_gives_monais_tracking_what_it_reads() -> None:
    trainer = make_trainer(make_objective(), make_batches(1), decollate=True)
    seen: list[float] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: seen.append(from_engine(["loss"], first=True)(e.state.output))
    )
    trainer.run()
    assert seen == [pytest.approx(trainer.state.metrics["loss"])]


def test_networks_are_in_training_mode_whatever_a_validation_left() -> None:
    trainer = make_trainer(make_objective(), make_batches(2))
    networks = [*trainer.objective.generators.values(), *trainer.objective.discriminators.values()]
    modes: list[bool] = []
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda: [network.eval() for network in networks])
    trainer.add_event_handler(IterationEvents.FORWARD_COMPLETED, lambda: modes.extend(n.training for n in networks))
    trainer.run()
    assert modes == [True] * 8


def test_epoch_broken_off_leaves_no_gradient_and_no_sum_to_the_next() -> None:
    batches = make_batches(4)
    trainer = make_trainer(make_objective(WITHOUT_DISCRIMINATORS), batches, accumulation_steps=4, max_epochs=2)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda e: e.terminate_epoch())
    found: list[bool] = []

    @trainer.on(Events.ITERATION_STARTED(once=2))
    def note() -> None:
        found.append(all(p.grad is None for p in trainer.objective.generators.parameters()) and not trainer._sums)

    trainer.run()
    assert found == [True]


@pytest.mark.parametrize("error", [None, RuntimeError("stop")])
def test_what_handlers_leave_for_the_exit_is_done_however_it_comes(error: Exception | None) -> None:
    done: list[bool] = []

    class Handler:
        def attach(self, engine: AlternatingTrainer) -> None:
            engine.add_event_handler(Events.STARTED, lambda e: e.on_exit.callback(done.append, True))
            engine.add_event_handler(Events.ITERATION_COMPLETED, self.fail)

        def fail(self) -> None:
            if error is not None:
                raise error

    trainer = make_trainer(make_objective(SUPERVISED), make_batches(1), train_handlers=[Handler()])
    if error is None:
        trainer.run()
    else:
        with pytest.raises(RuntimeError, match="stop"):
            trainer.run()
    assert done == [True]


def test_pools_are_seeded_and_one_a_discriminator() -> None:
    trainer = make_trainer(make_objective(), make_batches(1), pool_size=7, seed=5)
    assert {name: pool.size for name, pool in trainer.pools.items()} == {
        "mask_discriminator": 7,
        "image_discriminator": 7,
    }
    assert [pool.random.initial_seed() for pool in trainer.pools.values()] == [5, 6]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"amp": True}, TypeError, "amp would be without effect"),
        (
            {"compile_kwargs": {"mode": "default"}, "to_kwargs": {"dtype": torch.half}},
            TypeError,
            "compile_kwargs, to_kwargs would be without effect",
        ),
        ({"network": nn.Identity()}, TypeError, "network"),
        ({"clip_norm": 0.0}, ValueError, "clip_norm must be positive"),
        ({"clip_norm": math.nan}, ValueError, "clip_norm must be positive"),
        ({"precision": "half"}, ValueError, "precision must be"),
        ({"compile": "fast"}, InputError, "compile must be true, false or one of .*inductor.*, got 'fast'"),
        ({"accumulation_steps": 0}, ValueError, "accumulation_steps"),
        ({"finite_check_interval": 0}, ValueError, "1 iteration or more"),
        ({"misspelt": 1}, TypeError, "misspelt"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make_trainer(make_objective(), make_batches(1), **options)


def test_data_of_unknown_length_need_an_epoch_length() -> None:
    with pytest.raises(ValueError, match="give epoch_length"):
        make_trainer(make_objective(), iter(make_batches(1)))  # type: ignore[arg-type]
    assert make_trainer(make_objective(), iter(make_batches(1)), epoch_length=1).state.epoch_length == 1  # type: ignore[arg-type]


def test_frozen_gives_back_what_it_took_and_no_more() -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    network[0].requires_grad_(False)
    with frozen(network):
        assert not any(p.requires_grad for p in network.parameters())
    assert [p.requires_grad for p in network.parameters()] == [False, False, True, True]


def test_all_tensors_of_a_batch_go_to_the_device() -> None:
    trainer = make_trainer(make_objective(), make_batches(1))
    trainer.state.device = torch.device("meta")
    moved = trainer._to_device({"image": torch.rand(2, 1, 8, 8), "mix": torch.ones(2), "files": ["a.nii.gz"]})
    assert {moved[name].device.type for name in ("image", "mix")} == {"meta"}
    assert moved["files"] == ["a.nii.gz"]
