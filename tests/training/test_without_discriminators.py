"""The engine without a second side: supervised steps by hand, the share of the training that is done, and resuming."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from running import ROOT
from torch import Tensor, nn

from scripts.networks.fully_convolutional_discriminator import FullyConvolutionalDiscriminator
from scripts.networks.pixel_discriminator import PixelDiscriminator
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.objectives.adversarial import AdversarialObjective
from scripts.objectives.cyclegan import CycleGANObjective, CycleGANWeights
from scripts.objectives.supervised import SupervisedObjective
from scripts.training.schedule import ConstantThenLinear
from scripts.training.trainer import AlternatingTrainer

CLASSES = 3
EPOCHS = 3
LEARNING_RATE, BETAS = 2e-3, (0.5, 0.999)

Batch = dict[str, Tensor]


def make_batches(count: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(3)
    batches = []
    for number in range(count):
        label = torch.randint(0, CLASSES, (2, 8, 8), generator=generator)
        label[0, : number + 1, :5] = 255
        batches.append({"image": torch.randn(2, 1, 8, 8, generator=generator), "label": label})
    return batches


def make_segmentor() -> ResNetGenerator:
    torch.manual_seed(0)
    return ResNetGenerator(1, CLASSES, filters=2, blocks=1)


def adam(networks: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(networks.parameters(), LEARNING_RATE, BETAS)


def make_trainer(objective: Any, batches: list[Batch], **options: Any) -> AlternatingTrainer:
    defaults = {"optimizer": adam(objective.generators), "discriminator_optimizer": None, "device": "cpu"}
    settings = defaults | {"max_epochs": EPOCHS, "train_data_loader": batches} | options
    return AlternatingTrainer(objective=objective, **settings)


def assert_equal_bits(actual: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    assert actual.keys() == wanted.keys()
    assert [name for name, tensor in actual.items() if not torch.equal(tensor, wanted[name])] == []


def entropy(logits: Tensor, label: Tensor) -> Tensor:
    """As the objective rounds it: sum over the known pixels, then one division."""
    return F.cross_entropy(logits, label, ignore_index=255, reduction="none").sum() / (label != 255).sum()


def test_steps_equal_plain_supervised_ones_bit_for_bit() -> None:
    segmentor, batches = make_segmentor(), make_batches(3)
    by_hand = copy.deepcopy(segmentor)
    start = copy.deepcopy(segmentor.state_dict())
    trainer = make_trainer(SupervisedObjective(segmentor), batches, lr_schedule=ConstantThenLinear(EPOCHS, 1))
    losses: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: losses.append(e.state.output["loss"].item()))
    trainer.run()

    optimizer, expected = adam(by_hand), []
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * ConstantThenLinear(EPOCHS, 1)(epoch)
        for batch in batches:
            optimizer.zero_grad()
            loss = entropy(by_hand(batch["image"]), batch["label"])
            loss.backward()
            optimizer.step()
            expected.append(loss.item())
    assert losses == expected
    assert_equal_bits(segmentor.state_dict(), by_hand.state_dict())
    assert any(not torch.equal(tensor, start[name]) for name, tensor in segmentor.state_dict().items())


def test_the_paper_at_supervised_weights_is_the_supervised_arm_bit_for_bit() -> None:
    """ "Partial" is the same whether it is a method of its own or the paper's with five weights of 0."""
    weights = dict.fromkeys(CycleGANWeights.__dataclass_fields__, 0.0) | {"segmentation": 1.0}
    alone, among_four = make_segmentor(), make_segmentor()
    make_trainer(SupervisedObjective(alone), make_batches(2)).run()
    others = ResNetGenerator(CLASSES, 1, 2, blocks=1), PixelDiscriminator(CLASSES, 2), PixelDiscriminator(1, 2)
    objective = CycleGANObjective(among_four, *others, CLASSES, weights)
    make_trainer(objective, make_batches(2), discriminator_optimizer=adam(objective.discriminators)).run()
    assert_equal_bits(alone.state_dict(), among_four.state_dict())


def test_accumulated_and_clipped_steps_need_no_second_side() -> None:
    segmentor, batches = make_segmentor(), make_batches(2)
    by_hand = copy.deepcopy(segmentor)
    trainer = make_trainer(SupervisedObjective(segmentor), batches, accumulation_steps=2, clip_norm=0.01, max_epochs=1)
    trainer.run()
    optimizer = adam(by_hand)
    for batch in batches:
        (entropy(by_hand(batch["image"]), batch["label"]) / 2).backward()
    norm = nn.utils.clip_grad_norm_(by_hand.parameters(), 0.01)
    optimizer.step()
    assert norm > 0.01
    assert_equal_bits(segmentor.state_dict(), by_hand.state_dict())


def test_nothing_is_kept_for_discriminators() -> None:
    trainer = make_trainer(SupervisedObjective(make_segmentor()), make_batches(1))
    trainer.run()
    assert set(trainer.optimizers) == set(trainer.scalers) == set(trainer.schedulers) == {"generators"}
    assert trainer.pools == {}
    assert set(trainer.state.output) == {"image", "label", "pred", "loss", "segmentation"}
    assert set(trainer.state.metrics) == {"loss", "segmentation"}


@pytest.mark.parametrize("method", ["adversarial", "paper"])
def test_discriminators_without_an_optimizer_are_refused(method: str) -> None:
    segmentor = make_segmentor()
    if method == "adversarial":
        objective: Any = AdversarialObjective(segmentor, FullyConvolutionalDiscriminator(CLASSES, 1), CLASSES)
    else:
        others = ResNetGenerator(CLASSES, 1, 2, blocks=1), PixelDiscriminator(CLASSES, 2), PixelDiscriminator(1, 2)
        objective = CycleGANObjective(segmentor, *others, CLASSES)
    with pytest.raises(ValueError, match="has discriminators, but discriminator_optimizer is None: give one"):
        make_trainer(objective, make_batches(1))


class Recording(SupervisedObjective):
    """Remembers what share of the training was done at each step."""

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__(segmentor)
        self.progress: list[float] = []

    def schedule(self, progress: float) -> dict[str, Any]:
        return {"progress": progress}

    def generator_terms(self, batch: Mapping[str, Tensor], t: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.progress.append(float(batch["progress"]))
        return super().generator_terms(batch, t)


def test_objective_is_told_the_share_of_the_training_that_is_done() -> None:
    objective = Recording(make_segmentor())
    make_trainer(objective, make_batches(2)).run()
    assert objective.progress == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])


# Resuming, from the configs


@pytest.fixture
def make_method(make_training: Callable[..., ConfigWorkflow]) -> Callable[..., ConfigWorkflow]:
    """``make_training`` of another method than the paper's."""

    def make(method: str, **settings: Any) -> ConfigWorkflow:
        files = [str(ROOT / "configs" / name) for name in ("train.json", f"method_{method}.json")]
        return make_training(config_file=files, max_epochs=2, **settings)

    return make


def rows_of(state: dict) -> list[dict]:
    """The validations of a run, without their clock."""
    rows = state["handlers"]["history"]["rows"]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.parametrize(
    ("method", "sides"), [("supervised", {"generators"}), ("adversarial", {"generators", "discriminators"})]
)
def test_a_resumed_run_of_another_method_ends_the_same(
    method: str, sides: set[str], make_method: Callable[..., ConfigWorkflow], tmp_path: Path
) -> None:
    """Stopped within the second of two epochs; for Hung et al. that is after self-teaching began."""
    make_method(method, folder=tmp_path / "whole").run()

    stopped = make_method(method, folder=tmp_path / "stopped")
    at = stopped.trainer.state.epoch_length + 1

    def interrupt() -> None:
        raise KeyboardInterrupt

    stopped.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=at), interrupt)
    with pytest.raises(BaseException) as raised:  # noqa: PT011 - MONAI may wrap it
        stopped.run()
    assert "KeyboardInterrupt" in repr([raised.value, raised.value.__cause__])
    make_method(method, folder=tmp_path / "stopped", resume=True).run()

    states = [
        torch.load(tmp_path / name / "models" / "training_state.pt", weights_only=True) for name in ("whole", "stopped")
    ]
    assert [state["engine"]["epoch"] for state in states] == [2, 2]
    assert all(set(state["optimizers"]) == set(state["scalers"]) == sides for state in states)
    assert_equal_bits(states[1]["networks"], states[0]["networks"])
    assert {name.split(".")[0] for name in states[0]["networks"]} == sides
    assert rows_of(states[1]) == rows_of(states[0])
    assert [row["epoch"] for row in rows_of(states[0])] == [1, 2]
