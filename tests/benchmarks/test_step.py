"""A training step measured: the plain step makes the bundle's numbers with more passes, and the table says what was measured."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scripts.benchmarks import step
from scripts.benchmarks.bundle_step import Job, bundle_step, plain_step
from scripts.benchmarks.convolutions import ConvolutionsAlone, recorded

TINY = Job(pixels=16, filters=2, device="cpu", precision="float32", seconds=0.0, blocks=1)


@pytest.fixture
def double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double_precision")
def test_the_bundles_step_and_the_plain_step_make_the_same_numbers() -> None:
    """Twelve updates: the pools of 50 fill at the tenth, and answer with older fakes from then on. In double precision, since
    rounding to float32 grows to parts in a thousand by then, more on some processors than on others."""
    bundle, plain = bundle_step(TINY), plain_step(TINY)
    for _ in range(12):
        ours, theirs = bundle(), plain()
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            torch.testing.assert_close(value, theirs[name], rtol=1e-6, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("changed", [*step.VARIANTS])
def test_every_variant_makes_the_same_numbers(changed: str) -> None:
    """Within the rounding of its precision; compiled functions by the backend that only traces."""
    options = step.VARIANTS[changed]
    if "compile" in options:
        options = options | {"compile": "eager"}
    bundle, other = bundle_step(TINY), bundle_step(replace(TINY, **options))
    tolerance = {"rtol": 0.1, "atol": 0.02} if changed == "bfloat16" else {"rtol": 2e-3, "atol": 1e-4}
    for _ in range(3):
        ours, theirs = bundle(), other()
        for name, value in ours.items():
            torch.testing.assert_close(
                value.float(), theirs[name].float(), **tolerance, msg=lambda m, n=name: f"{n}: {m}"
            )


def test_five_generator_passes_in_three_calls_for_images_of_noise() -> None:
    """The segmentor's first layer sees x and x' together, then G_SI(y); each with the gradients that a term asks for."""
    bundle = bundle_step(TINY)
    with recorded(bundle.networks) as calls:
        bundle()
    segmentor, image_generator = bundle.trainer.objective.generators.values()
    first = {
        network: next(m for m in network.modules() if isinstance(m, torch.nn.Conv2d))
        for network in (segmentor, image_generator)
    }
    assert [(call.shape[0], call.of_input, call.of_weight) for call in calls if call.layer is first[segmentor]] == [
        (10, False, True), (5, True, True)
    ]  # fmt: skip
    assert [call.shape[0] for call in calls if call.layer is first[image_generator]] == [10]
    judge = bundle.trainer.objective.discriminators["mask_discriminator"]
    seen = [(call.of_input, call.of_weight) for call in calls if call.layer is judge.layers[0]]
    assert seen == [(True, False), (False, True), (False, True)]  # for the generators, frozen; then real and fake


def test_convolutions_alone_leave_the_networks_as_they_are() -> None:
    bundle = bundle_step(TINY)
    with recorded(bundle.networks) as calls:
        bundle()
    before = [parameter.clone() for parameter in bundle.networks.parameters()]
    ConvolutionsAlone(calls, "cpu")()
    assert all(torch.equal(a, b) for a, b in zip(before, bundle.networks.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in bundle.networks.parameters())


def test_the_table_is_last_and_the_json_agrees_with_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(step, "in_own_process", lambda measure, job: measure(job))
    monkeypatch.setattr(step, "matrix_ceiling", lambda device, dtype: 1e15)
    monkeypatch.setattr(step, "convolution_ceiling", lambda device, dtype: 2e15)
    path = tmp_path / "step.json"
    step.main(
        f"--pixels 16 --filters 2 --seconds 0 --device cpu --precision float32 --variants norm --json {path}".split()
    )
    result = json.loads(path.read_text())["result"]
    assert result["rounds"] == 1
    assert result["ratio"] == pytest.approx(result["plain_s"] / result["bundle_s"])
    assert result["share_of_convolutions"] == pytest.approx(result["convolutions_s"] / result["bundle_s"])
    assert result["share_of_ceiling"] == pytest.approx(result["bundle_flop"] / result["bundle_s"] / 2e15)
    assert result["plain_flop"] > result["bundle_flop"] > 0  # by the unused pass
    assert result["bundle_memory_mb"] > 50
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("| bundle's, PyTorch's instance norm")
    assert result["variants"]["norm"] == pytest.approx(result["variants_s"]["norm"] / result["bundle_s"])
