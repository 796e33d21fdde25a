"""The cycle teacher: its terms in numbers, which networks each reaches, and what an inactive term leaves undone."""

import dataclasses
import inspect
import json
from collections import Counter
from collections.abc import Mapping

import pytest
import torch
from discs import CLASSES, SIZE, Threshold, disc_batch
from running import ROOT
from torch import Tensor

from scripts.errors import InputError
from scripts.labels import VOID
from scripts.networks.patch_discriminator import PatchDiscriminator
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.objectives.cycle_teacher import CycleTeacherObjective
from scripts.objectives.cycle_terms import PASSING, CycleTeacherWeights, image_cycle
from scripts.objectives.mean_teacher import MeanTeacherObjective, MeanTeacherWeights
from scripts.objectives.rendering import Rendering
from scripts.training.averaging import average_of
from scripts.training.losses import StepLosses
from scripts.training.trainer import frozen

UNSUPERVISED = CycleTeacherObjective.unsupervised
TERMS = tuple(field.name for field in dataclasses.fields(CycleTeacherWeights))
ALL = {"image_cycle": 1.0, "mask_adversarial": 0.02}
"""With the weights by default, all terms."""
REACHED = {
    "segmentation": {"segmentor"},
    "dice": {"segmentor"},
    "consistency": {"segmentor"},
    "image_reconstruction": {"image_generator"},
    "image_cycle": {"segmentor", "image_generator"},
    "mask_cycle": {"segmentor", "image_generator"},
    "mask_adversarial": {"segmentor"},
    "image_adversarial": {"image_generator"},
}


def only(*names: str) -> dict[str, float]:
    return {term: float(term in names) for term in TERMS}


def objective(weights: Mapping[str, float] | MeanTeacherWeights = ALL, **options: object) -> CycleTeacherObjective:
    torch.manual_seed(0)
    segmentor = ResNetGenerator(1, CLASSES, filters=2, blocks=1)
    alone = isinstance(weights, Mapping) and weights.get("segmentation") == 0
    always = {"end": 1} if alone else {}  # a term alone must act to the end, or it is refused
    made = CycleTeacherObjective(
        segmentor,
        average_of(segmentor),
        ResNetGenerator(CLASSES + 2, 1, filters=2, blocks=1, activation="tanh"),
        PatchDiscriminator(CLASSES, filters=2, layers=2),
        PatchDiscriminator(1, filters=2, layers=2),
        CLASSES,
        weights,
        **({"confidence": 0.0} | always | options),
    )
    made.teacher = Threshold()  # an untrained teacher sees hearts anywhere or nowhere
    return made


@pytest.fixture
def batch() -> dict[str, Tensor]:
    return disc_batch()


def times(count: int, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """``batch`` with items of it again, up to four."""
    return {name: torch.cat([value] * 2)[:count] if torch.is_tensor(value) else value for name, value in batch.items()}


def reached(made: CycleTeacherObjective, loss: Tensor) -> set[str]:
    networks = dict(made.generators.items()) | dict(made.discriminators.items())
    loss.backward()
    return {n for n, net in networks.items() if any(p.grad is not None and p.grad.any() for p in net.parameters())}


@pytest.mark.parametrize("term", TERMS)
def test_a_term_reaches_its_networks_alone(term: str, batch: dict[str, Tensor]) -> None:
    made = objective(only(term), mask_input="straight-through", image_input="attached")
    with frozen(made.discriminators):
        terms = made.generator_terms(batch, made.translate(batch))
        assert set(terms) == {term}
        assert reached(made, terms[term]) == REACHED[term]


@pytest.mark.parametrize(("term", "trained"), [("image_cycle", "image_generator"), ("mask_cycle", "segmentor")])
def test_a_detached_cycle_trains_the_generator_that_closes_it(
    term: str, trained: str, batch: dict[str, Tensor]
) -> None:
    made = objective(only(term))
    terms = made.generator_terms(batch, made.translate(batch))
    assert reached(made, terms[term]) == {trained}


@pytest.mark.parametrize("mask_input", ["detached", "straight-through"])
def test_the_generator_is_shown_one_hot_masks(mask_input: str, batch: dict[str, Tensor]) -> None:
    assert set(cycled_mask(batch, mask_input=mask_input).unique().tolist()) <= {0.0, 1.0}
    assert not set(cycled_mask(batch, mask_input="soft").unique().tolist()) <= {0.0, 1.0}


def test_the_image_cycle_shows_all_classes_and_asks_only_where_the_teacher_is_sure(batch: dict[str, Tensor]) -> None:
    assert torch.equal(cycled_mask(batch, confidence=0.7), cycled_mask(batch))
    made = objective(only("image_cycle"), confidence=0.7)
    t = made.translate(batch)
    sure = (t["sure_label"] != VOID).unsqueeze(1) & t["cycled_region"]
    assert sure.any()
    assert not sure[t["cycled_region"]].all()
    missed = (t["reconstructed_image"] - batch["strong_unlabeled_image"]).abs()
    term = made.generator_terms(batch, t)["image_cycle"]
    assert float(term.detach()) == pytest.approx(float(missed[sure].detach().mean()), rel=1e-5)
    doubtful = objective(only("image_cycle"), confidence=1.0)
    assert float(doubtful.generator_terms(batch, doubtful.translate(batch))["image_cycle"].detach()) == 0


def test_labelled_hearts_are_restored_from_their_own_strong_view(batch: dict[str, Tensor]) -> None:
    made = objective(only("image_reconstruction"))
    t = made.translate(batch)
    region = t["restored_region"]
    assert torch.equal(t["restored_image"][~region], batch["strong_image"][~region])
    missed = (t["restored_image"] - batch["strong_image"])[region] ** 2
    term = made.generator_terms(batch, t)["image_reconstruction"]
    assert float(term.detach()) == pytest.approx(float(missed.detach().mean()), rel=1e-5)


def test_void_is_not_restored(batch: dict[str, Tensor]) -> None:
    made = objective(only("image_reconstruction"))
    label = batch["label"].clone()
    label[:, :, :14] = VOID
    batch = batch | {"label": label}
    t = made.translate(batch)
    known = t["restored_region"] & (label != VOID).unsqueeze(1)
    assert known.any()
    assert not known[t["restored_region"]].all()
    missed = (t["restored_image"] - batch["strong_image"])[known] ** 2
    term = made.generator_terms(batch, t)["image_reconstruction"]
    assert float(term.detach()) == pytest.approx(float(missed.detach().mean()), rel=1e-5)


def cycled_mask(batch: dict[str, Tensor], **options: object) -> Tensor:
    """What the image generator is shown of the mask in the image cycle."""
    made, seen = objective(only("image_cycle"), **options), []
    made.generators["image_generator"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    made.translate(batch)
    return seen[0][:, :CLASSES].detach()


def test_the_discriminators_learn_from_detached_fakes_and_reach_nobody_else(batch: dict[str, Tensor]) -> None:
    made = objective()
    t = made.translate(batch)
    terms = made.discriminator_terms(batch, t, made.fakes(t))
    assert reached(made, sum(terms.values(), torch.zeros(()))) == {"mask_discriminator", "image_discriminator"}


def test_real_and_fake_masks_are_mixed_of_two_items_alike(batch: dict[str, Tensor]) -> None:
    made, seen = objective(only("mask_adversarial")), []
    made.discriminators["mask_discriminator"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch = times(3, batch)
    t = made.translate(batch)
    made.discriminator_terms(batch, t, made.fakes(t))
    real, fake = (mask.argmax(1) for mask in seen)
    inside, other = batch["mix"].squeeze(1), batch["other_label"][[2, 0, 1]]
    assert torch.equal(real[:3], batch["label"].where(inside, other))
    assert torch.equal(real[3:], other.where(inside, batch["label"]))
    assert torch.equal(fake, t["mixed_logits"].argmax(1))


def test_real_and_rendered_images_are_judged_over_the_same_region(batch: dict[str, Tensor]) -> None:
    made, seen, scores = objective(only("image_adversarial")), [], []
    made.discriminators["image_discriminator"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    made.discriminators["image_discriminator"].register_forward_hook(lambda *call: scores.append(call[2].detach()))
    t = made.translate(batch)
    term = made.discriminator_terms(batch, t, made.fakes(t))["image_discriminator"]
    assert torch.equal(seen[0], batch["strong_unlabeled_image"])
    assert torch.equal(seen[1], t["generated_image"])
    region, (real, fake) = t["rendered_region"], scores
    expected = 0.5 * (((real - 1)[region] ** 2).mean() + (fake[region] ** 2).mean())
    assert float(term.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_the_image_cycle_looks_at_its_pixels_alone() -> None:
    image = torch.zeros(1, 1, 2, 3)
    restored = torch.tensor([[[[3.0, 1, 5], [2, 7, 9]]]])
    closed = torch.tensor([[[[True, False, False], [True, False, True]]]])
    assert float(image_cycle(restored, image, closed)) == pytest.approx((3 + 2 + 9) / 3)
    assert float(image_cycle(restored, image, torch.zeros_like(closed))) == 0


def test_what_is_rendered_changes_the_region_alone_and_is_labelled(batch: dict[str, Tensor]) -> None:
    t = objective().translate(batch)
    region = t["rendered_region"]
    assert region.any()
    assert not region.all()
    assert torch.equal(t["generated_image"][~region], batch["strong_unlabeled_image"][~region])
    assert not torch.equal(t["generated_image"][region], batch["strong_unlabeled_image"][region])
    assert (t["rendered_label"][region.squeeze(1)] != VOID).all()
    assert (t["rendered_label"][~region.squeeze(1)] == 0).all(), "the teacher's background"
    heart = (t["rendered_label"] > 0) & (t["rendered_label"] != VOID)
    assert heart.any()
    # The teacher's heart is repainted with a margin, wherever the new one lies.
    assert region.squeeze(1)[t["pseudo_label"] > 0].all()


def test_the_generator_is_shown_flat_hearts_in_the_images_own_shades(batch: dict[str, Tensor]) -> None:
    made, seen = objective(rendering={"window": 1.0}), []
    made.generators["image_generator"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    t = made.translate(batch)
    mask, image, region = seen[0].split([CLASSES, 1, 1], 1)
    assert len(seen) == 1
    for shown, classes, inside in zip(image, mask.bool(), region.bool(), strict=True):
        for one in classes:
            assert (shown[0][one].amax() - shown[0][one].amin() if one.any() else 0) == 0, "one shade a class"
        assert torch.equal(classes.any(0), inside[0]), "the mask ends where E does"
    x, taught, within = batch["strong_unlabeled_image"][:, 0], t["pseudo_label"], t["cycled_region"][:, 0]
    for item in range(2):
        for k in range(CLASSES):
            place = (taught[item] == k) & within[item]
            assert image[2 + item, 0][place].numpy() == pytest.approx(float(x[item][place].mean()), abs=1e-5)
    assert set(region.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(("window", "side"), [(0.25, 8), (0.5, 16), (1.0, SIZE)])
def test_the_generator_sees_a_window_about_the_heart(window: float, side: int, batch: dict[str, Tensor]) -> None:
    made, seen = objective(rendering={"window": window}), []
    made.generators["image_generator"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    t = made.translate(batch)
    assert seen[0].shape[-2:] == (side, side)
    regions = torch.cat([t["restored_region"], t["cycled_region"], t["rendered_region"]])
    # E ends where the window does: all of it is seen, and the rest stays the image's.
    assert seen[0][:, -1].sum() == regions.sum()
    changed = t["generated_image"] != batch["strong_unlabeled_image"]
    assert torch.equal(changed, t["rendered_region"])


def test_where_the_teacher_is_in_doubt_a_rendered_image_is_labelled_in_the_region_alone(
    batch: dict[str, Tensor],
) -> None:
    t = objective(confidence=1.0).translate(batch)
    inside = t["rendered_region"].squeeze(1)
    assert inside.any()
    assert ((t["rendered_label"] != VOID) == inside).all()


def test_without_a_heart_in_the_teachers_eyes_nothing_is_rendered(batch: dict[str, Tensor]) -> None:
    made = objective(only("mask_cycle", "image_adversarial"))
    t = made.translate(batch | {"unlabeled_image": batch["unlabeled_image"] * 0})
    assert not t["rendered_region"].any()
    assert (t["rendered_label"] == VOID).all()
    assert all(float(term.detach()) == 0 for term in made.generator_terms(batch, t).values())


def test_without_shades_hearts_are_erased(batch: dict[str, Tensor]) -> None:
    made, seen = objective(rendering={"shades": False}), []
    made.generators["image_generator"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    made.translate(batch)
    _, image, region = seen[0].split([CLASSES, 1, 1], 1)
    assert (image * region).abs().max() == 0


def test_the_unsupervised_terms_wait_and_then_grow(batch: dict[str, Tensor]) -> None:
    made = objective(warm_up=0.2, ramp=0.4, end=1)

    def strength(progress: float) -> float:
        return float(made.schedule(progress)["strength"])

    assert [strength(p) for p in (0.0, 0.19, 0.6, 0.99)] == [0, 0, 1, 1]
    assert 0 < strength(0.2) < strength(0.4) < 1
    early = batch | made.schedule(0.1)
    t = made.translate(early)
    assert set(made.generator_terms(early, t)) == set(TERMS) - UNSUPERVISED
    assert made.fakes(t) == {}
    later = batch | made.schedule(0.4)
    full = made.generator_terms(batch, made.translate(batch))
    part = made.generator_terms(later, made.translate(later))
    for name in UNSUPERVISED:
        assert float(part[name].detach()) == pytest.approx(strength(0.4) * float(full[name].detach()), rel=1e-3)


def test_cycles_and_discriminators_fade_and_end_and_the_teacher_stays(batch: dict[str, Tensor]) -> None:
    made = objective(warm_up=0.1, ramp=0.2, end=0.6, fade=0.2)
    whole = made.generator_terms(batch, made.translate(batch))
    for progress, left in ((0.59, 1), (0.65, 0.75), (0.75, 0.25)):
        now = batch | made.schedule(progress)
        terms = made.generator_terms(now, made.translate(now))
        assert set(terms) == set(TERMS)
        for name, term in terms.items():
            expected = float(whole[name].detach()) * (left if name in PASSING else 1)
            assert float(term.detach()) == pytest.approx(expected, rel=1e-3), (name, progress)
    late = batch | made.schedule(0.9)
    calls: Counter = Counter()
    for name, network in (*made.generators.items(), *made.discriminators.items()):
        network.register_forward_hook(lambda *_, name=name: calls.update([name]))
    t = made.translate(late)
    assert set(made.generator_terms(late, t)) == {"segmentation", "dice", "consistency"}
    assert made.discriminator_terms(late, t, made.fakes(t)) == {}
    assert calls == {"segmentor": 1}


def test_they_may_end_at_once_or_never() -> None:
    at_once = objective(end=0.6, fade=0)
    assert [at_once.schedule(p)["passing"] for p in (0.599, 0.6, 0.7)] == [True, False, False]
    assert not objective(end=0.6, fade=0.1).schedule(0.7)["passing"]  # 0.7 - 0.6 is less than 0.1 in floating point
    never = objective(end=1).schedule(0.999)
    assert (never["passing"], never["left"]) == (True, 1)
    with pytest.raises(InputError, match=r"would end, at 0\.1, before they begin: give end above warm_up, 0\.1"):
        objective(warm_up=0.1, end=0.1)
    with pytest.raises(InputError, match="nothing would be trained once cycles and discriminators have ended"):
        objective(only("image_reconstruction"), end=0.6)
    to_the_end = objective(only("image_reconstruction"), end=0.95, fade=0.1)
    assert to_the_end.schedule(0.999)["passing"]
    with pytest.raises(
        InputError, match="in the warm-up nothing would be trained, since nothing but mask_cycle has a weight"
    ):
        objective(only("mask_cycle"), warm_up=0.1)


@pytest.mark.parametrize("mask_input", ["detached", "soft"])
def test_everything_but_mixed_images_is_made_for_the_panel(mask_input: str, batch: dict[str, Tensor]) -> None:
    plain = {name: batch[name] for name in ("image", "label", "unlabeled_image")}
    t = objective(only("segmentation"), mask_input=mask_input).translate(plain, everything=True)
    images = {"restored_image", "reconstructed_image", "generated_image"}
    assert images | {"logits", "reconstructed_logits", "pseudo_label"} <= set(t)
    assert ("unlabeled_logits" in t) == (mask_input == "soft")
    assert "mixed_logits" not in t


@pytest.mark.parametrize(
    ("method", "kind"), [("cycle_teacher", CycleTeacherObjective), ("mean_teacher", MeanTeacherObjective)]
)
def test_the_defaults_are_those_of_the_config(method: str, kind: type[MeanTeacherObjective]) -> None:
    config = json.loads((ROOT / "configs" / f"method_{method}.json").read_text())
    assert dataclasses.asdict(kind.weights_type()) == config["weights"]
    given = {name: config.get(str(value).removeprefix("@"), value) for name, value in config["objective"].items()}
    settings = {name: value for name, value in given.items() if not str(value).startswith(("@", "$", "scripts."))}
    defaults = {name: option.default for name, option in inspect.signature(kind).parameters.items() if name in settings}
    if "rendering" in defaults:
        defaults["rendering"] = dataclasses.asdict(Rendering())
    assert {"confidence", "warm_up", "ramp", "weights"} <= settings.keys()
    assert defaults | {"weights": config["weights"]} == settings


def test_weights_of_another_method_are_refused() -> None:
    with pytest.raises(TypeError, match="CycleTeacherWeights are needed, got MeanTeacherWeights"):
        objective(MeanTeacherWeights())


def test_what_no_term_reads_is_not_computed(batch: dict[str, Tensor]) -> None:
    calls: Counter = Counter()
    made = objective(only("segmentation", "dice", "consistency"))
    for name, network in (*made.generators.items(), *made.discriminators.items()):
        network.register_forward_hook(lambda *_, name=name: calls.update([name]))
    t = made.translate(batch)
    made.generator_terms(batch, t)
    made.discriminator_terms(batch, t, made.fakes(t))
    assert calls == {"segmentor": 1}


def test_one_pass_of_the_generator_and_two_of_the_segmentor(batch: dict[str, Tensor]) -> None:
    made, calls = objective(), Counter()
    for name, network in made.generators.items():
        network.register_forward_hook(lambda *_, name=name: calls.update([name]))
    made.translate(batch)
    assert calls == {"segmentor": 2, "image_generator": 1}


@pytest.mark.parametrize("options", [{"confidence": 1.5}, {"warm_up": -1}, {"ramp": 2}, {"end": 1.1}, {"fade": -0.1}])
def test_shares_outside_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
        objective(**options)


def test_a_method_without_a_teacher_is_refused() -> None:
    segmentor = ResNetGenerator(1, CLASSES, filters=2, blocks=1)
    with pytest.raises(InputError, match="give ema_decay"):
        CycleTeacherObjective(segmentor, None, segmentor, segmentor, segmentor, CLASSES)


@pytest.mark.parametrize("background", [False, "false"])
def test_data_without_a_background_is_refused(background: object) -> None:
    with pytest.raises(InputError, match="no class of this data is background"):
        objective(background=background)


def test_what_cannot_be_mixed_is_refused_before_the_warm_up_is_over(batch: dict[str, Tensor]) -> None:
    early = objective(warm_up=0.1).schedule(0)
    assert not early["unsupervised"]
    plain = {name: batch[name] for name in ("image", "label", "unlabeled_image")} | early
    with pytest.raises(InputError, match=r"for consistency and mask_adversarial: give --augment true"):
        objective().translate(plain)
    objective(only("segmentation", "mask_cycle")).translate(plain)
    with pytest.raises(InputError, match="--batch_size 2 or more"):
        objective().translate(times(1, batch) | early)
    objective(only("segmentation", "consistency")).translate(times(1, batch) | early)


def test_every_second_rendered_heart_may_be_the_teachers_of_another_image(batch: dict[str, Tensor]) -> None:
    batch = times(3, batch)
    plain, both = (objective(shapes=shapes).translate(batch) for shapes in ("labels", "both"))
    moved, _ = objective().rendering.placed(both["pseudo_label"].roll(1, 0), both["pseudo_label"])
    inside = both["rendered_region"][1, 0]
    assert torch.equal(both["rendered_label"][1][inside], moved[1][inside])
    assert not torch.equal(both["rendered_label"][1], plain["rendered_label"][1])
    for item in (0, 2):
        assert torch.equal(both["rendered_label"][item], plain["rendered_label"][item])


def test_an_unknown_input_or_weight_is_refused() -> None:
    with pytest.raises(InputError, match="mask_input"):
        objective(mask_input="hard")
    with pytest.raises(InputError, match="image_input"):
        objective(image_input="soft")
    with pytest.raises(InputError, match="shapes must be one of labels, both"):
        objective(shapes="teacher")
    with pytest.raises(TypeError, match="consistancy"):
        objective({"consistancy": 1.0})


def test_compiled_it_has_one_program_for_each_phase_of_the_schedule(
    batch: dict[str, Tensor], programs: list[torch.fx.GraphModule]
) -> None:
    """Warm-up, all terms, the teacher alone, and the discriminators."""
    made = objective(warm_up=0.1, ramp=0.2, end=0.6, fade=0.1)
    step, counts = StepLosses(made, "counting", torch.device("cpu")), {}
    for progress in (0.0, 0.05, 0.15, 0.25, 0.5, 0.62, 0.68, 0.75, 0.9):
        schedule = made.schedule(progress).items()
        scheduled = batch | {n: torch.full((), v) if isinstance(v, float) else v for n, v in schedule}
        _, terms, translated = step.generators(scheduled)
        fakes = made.fakes(translated)
        if fakes:
            step.discriminators(scheduled, translated, fakes)
        counts[progress] = (len(programs), len(terms))
    phases = [(1, 3)] * 2 + [(3, 8)] * 5 + [(4, 3)] * 2
    assert list(counts.values()) == phases
