"""Every data set with every method: one optimizer step each, and overlays that merge in either order."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Events
from imagesets import train_ids, write_cityscapes, write_folder, write_voc, write_volume_folder
from monai.bundle import ConfigParser, ConfigWorkflow
from PIL import Image
from running import ROOT, TINY

from scripts.errors import input_error_in
from scripts.labels import VOID
from scripts.model_card import read_card, sha256

CONFIGS = ROOT / "configs"


class DataCase(NamedTuple):
    """A data set as it is trained on here.

    ``config``: its overlay, None for ACDC. ``settings``: of the run. ``image``, ``classes``: what a batch must be.
    """

    config: str | None
    settings: dict[str, Any]
    image: tuple[int, int, int]
    classes: int
    background: bool = True


DATA = {
    "acdc": DataCase(None, {"size": [32, 32], "spacing": [6, 6]}, (1, 32, 32), 4),
    "voc": DataCase("data_voc.json", {"size": [32, 32]}, (3, 32, 32), 21),
    "cityscapes": DataCase("data_cityscapes.json", {"size": [32, 64]}, (3, 32, 64), 19, background=False),
    "own photographs": DataCase("data_folder.json", {"size": [32, 36]}, (3, 32, 36), 3),
    "own volumes": DataCase("data_folder.json", {"size": [32, 32], "spacing": [2, 2]}, (1, 32, 32), 3),
}
METHODS = (
    None,
    "method_supervised.json",
    "method_adversarial.json",
    "method_mean_teacher.json",
    "method_cycle_teacher.json",
)
DISCRIMINATORS = {
    None: {"mask_discriminator", "image_discriminator"},
    "method_supervised.json": set(),
    "method_adversarial.json": {"mask_discriminator"},
    "method_mean_teacher.json": set(),
    "method_cycle_teacher.json": {"mask_discriminator", "image_discriminator"},
}
ALL_TERMS = {"method_cycle_teacher.json": {"weights__image_cycle": 1, "weights__mask_adversarial": 0.02}}
"""Settings with which all terms of a method act."""
RENDERING = "method_cycle_teacher.json"
"""Renders what is not background, so it needs one."""


def methods_of(data: str) -> list[str | None]:
    """The methods that can be trained on it."""
    return [method for method in METHODS if method != RENDERING or DATA[data].background]


PAIRS = [
    pytest.param(data, method, id=f"{data} x {method or 'the paper'}") for data in DATA for method in methods_of(data)
]
OVERLAYS = [*(path.name for path in sorted(CONFIGS.glob("data_*.json"))), *METHODS[1:]]


@pytest.fixture(scope="session")
def data_dirs(tmp_path_factory: pytest.TempPathFactory, phantom_dir: Path) -> dict[str, Path]:
    """A folder of each data set."""
    folder = tmp_path_factory.mktemp("data sets")
    return {
        "acdc": phantom_dir,
        "voc": write_voc(folder / "voc"),
        "cityscapes": write_cityscapes(folder / "cityscapes"),
        "own photographs": write_folder(folder / "photographs"),
        "own volumes": write_volume_folder(folder / "volumes"),
    }


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one method has decoded serves the next."""
    return tmp_path_factory.mktemp("cache")


Make = Callable[..., ConfigWorkflow]


@pytest.fixture
def make(data_dirs: dict[str, Path], cache_dir: Path, tmp_path: Path) -> Make:
    """Make (not run) a tiny training of a data set by a method; without MLflow, evaluation and console."""

    def made(data: str, method: str | None = None, **overrides: Any) -> ConfigWorkflow:
        folder = tmp_path / overrides.pop("folder", "run")
        settings = {key: value for key, value in TINY.items() if key not in ("size", "spacing")}
        settings |= DATA[data].settings | {
            "bundle_root": str(ROOT),
            "dataset_dir": str(data_dirs[data]),
            "output_dir": str(folder),
            "ckpt_dir": str(folder / "models"),
            "cache_dir": str(cache_dir),
            "batch_size": 2,
            "max_epochs": 1,
            "mlflow": False,
            "train#handlers": [],
        }
        settings |= {key.replace("__", "#"): value for key, value in overrides.items()}
        workflow = ConfigWorkflow(config_files(data, method), workflow_type="train", logging_file=False, **settings)
        workflow.initialize()
        return workflow

    return made


def config_files(data: str, method: str | None, method_first: bool = False) -> list[str]:
    overlays = [name for name in (DATA[data].config, method) if name is not None]
    return [str(CONFIGS / name) for name in ("train.json", *(overlays[::-1] if method_first else overlays))]


def step(workflow: ConfigWorkflow) -> dict[str, Any]:
    """Train for one iteration; returns its output."""
    trainer = workflow.trainer
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: engine.terminate())
    trainer.run()
    assert trainer.state.iteration == 1
    return trainer.state.output


def scalars(output: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in output.items() if value.ndim == 0}


def content(workflow: ConfigWorkflow, id: str) -> Any:
    return workflow.parser.get_parsed_content(id)


def error_of(make_and_run: Callable[[], Any]) -> str:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - MONAI wraps it
        make_and_run()
    known = input_error_in(raised.value)
    assert known is not None, raised.value
    return str(known)


def test_every_overlay_is_tested_here() -> None:
    assert {path.name for path in CONFIGS.glob("data_*.json")} == {case.config for case in DATA.values()} - {None}
    assert {path.name for path in CONFIGS.glob("method_*.json")} == set(METHODS) - {None}


# One step


@pytest.mark.parametrize(("data", "method"), PAIRS)
def test_one_step(data: str, method: str | None, make: Make) -> None:
    case, workflow = DATA[data], make(data, method, **ALL_TERMS.get(method, {}))
    assert workflow.check_properties() == []
    objective = content(workflow, "objective")
    before = {name: value.clone() for name, value in objective.generators.state_dict().items()}
    judged = {name: value.clone() for name, value in objective.discriminators.state_dict().items()}
    output = step(workflow)

    terms = scalars(output)
    weights: dict[str, float] = content(workflow, "weights")
    assert terms.keys() == {"loss", *weights, *DISCRIMINATORS[method]}
    assert all(math.isfinite(value) for value in terms.values())
    assert terms["loss"] == pytest.approx(sum(weight * terms[name] for name, weight in weights.items()), rel=1e-5)
    assert tuple(output["image"].shape) == (2, *case.image)
    assert tuple(output["pred"].shape) == (2, case.classes, *case.image[1:])
    assert set(output["label"].unique().tolist()) <= {*range(case.classes), VOID}
    assert not torch.equal(output["label"][0], output["label"][1]), "two slices, not one twice"
    for old, module in ((before, objective.generators), (judged, objective.discriminators)):
        for network, child in module.named_children():
            now = child.state_dict(prefix=f"{network}.")
            assert any(not torch.equal(old[name], value) for name, value in now.items()), f"{network} was not trained"


@pytest.mark.parametrize("data", DATA)
def test_the_model_card_is_of_the_data_set(data: str, make: Make) -> None:
    case, workflow = DATA[data], make(data)
    card = content(workflow, "model_card")
    assert len(card.class_names) == case.classes
    assert (card.background, card.image_channels) == (case.background, case.image[0])
    assert card.grid == content(workflow, "grid")
    assert card.grid.size == case.image[1:]
    assert card.network_def["in_channels"] == case.image[0]


@pytest.mark.parametrize("data", DATA)
def test_all_methods_make_as_many_updates_from_the_same_labels(data: str, make: Make) -> None:
    loaders = [content(make(data, method, augment=False), "train#dataloader") for method in methods_of(data)]
    assert len({len(loader) for loader in loaders}) == 1
    first = [loader.batch(0) for loader in loaders]
    assert all(torch.equal(batch["image"], first[0]["image"]) for batch in first)
    assert all(torch.equal(batch["label"], first[0]["label"]) for batch in first)


@pytest.mark.parametrize(
    ("method", "size"), [(None, [8, 3]), ("method_cycle_teacher.json", [16, 4])], ids=["paper", "cycle teacher"]
)
def test_the_image_generator_is_as_large_as_the_segmentor_or_has_a_size_of_its_own(
    method: str | None, size: list[int]
) -> None:
    parser = ConfigParser()
    parser.read_config(config_files("acdc", method))
    parser.update({"filters": 8, "blocks": 3})
    assert [parser.get_parsed_content(f"image_generator_def#{name}") for name in ("filters", "blocks")] == size


def test_a_run_keeps_its_hash_where_no_epoch_length_is_given(make: Make) -> None:
    hashes = []
    for given in (None, 3):
        workflow = make("acdc", folder=str(given), epoch_length=given)
        hashes.append((content(workflow, "run_sha256"), dict(content(workflow, "fingerprint"))))
    (plain, fingerprint), (other, longer) = hashes
    assert fingerprint.pop("epoch_length") is None
    assert plain == sha256(fingerprint), "as before there was an epoch_length"
    assert other == sha256(longer) != plain


def test_an_epoch_has_as_many_batches_as_are_given(make: Make) -> None:
    trainer = content(make("acdc", epoch_length=3), "train#trainer")
    assert trainer.state.epoch_length == 3
    trainer.run()
    assert trainer.state.iteration == 3 * trainer.state.max_epochs


@pytest.mark.parametrize("data", ["voc", "cityscapes", "own photographs"])
def test_images_are_kept_in_eight_bits(data: str, make: Make) -> None:
    workflow = make(data)
    for id in ("train#dataset", "train#unlabeled_dataset", "validate#dataset"):
        assert content(workflow, id).images.dtype == torch.uint8


# Merging


@pytest.mark.parametrize(("data", "method"), PAIRS)
def test_overlays_merge_in_either_order(data: str, method: str | None) -> None:
    one, two = ConfigParser(), ConfigParser()
    one.read_config(config_files(data, method))
    two.read_config(config_files(data, method, method_first=True))
    assert one.get() == two.get()


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_method_leaves_the_segmentor_as_it_is(method: str) -> None:
    networks = []
    for chosen in (None, method):
        parser = ConfigParser()
        parser.read_config(config_files("acdc", chosen))
        networks.append([parser.get_parsed_content(name) for name in ("network_def#filters", "network_def#blocks")])
    assert networks == [[64, 9]] * 2


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_sets_what_is_used(name: str) -> None:
    """A misspelt key would pass silently: each is one of the training, or used by the overlay itself."""
    train = ConfigParser(ConfigParser.load_config_file(str(CONFIGS / "train.json")))
    text = (CONFIGS / name).read_text(encoding="utf-8")
    for key in ConfigParser.load_config_file(str(CONFIGS / name)):
        if "#" in key:
            assert isinstance(train[key.rpartition("#")[0]], dict), f"{key} is in nothing"
        else:
            assert key in train.get() or f"@{key}" in text, f"{key} is not used"


# Terms


@pytest.mark.parametrize("off", ["mask_cycle", "image_cycle", "mask_adversarial", "image_adversarial"])
def test_an_ablation_is_a_weight_of_zero(off: str, make: Make) -> None:
    terms = scalars(step(make("voc", **{f"weights__{off}": 0})))
    known = {
        "segmentation",
        "image_reconstruction",
        "mask_cycle",
        "image_cycle",
        "mask_adversarial",
        "image_adversarial",
    }
    discriminators = {"mask_discriminator", "image_discriminator"} - {off.replace("adversarial", "discriminator")}
    assert terms.keys() == {"loss"} | known - {off} | discriminators


@pytest.mark.parametrize(("warm_up", "taught"), [(0.25, False), (0, True)])
def test_self_teaching_waits_for_its_warm_up(warm_up: float, taught: bool, make: Make) -> None:
    terms = scalars(step(make("voc", "method_adversarial.json", objective__warm_up=warm_up)))
    assert (terms["self_taught"] > 0) is taught


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_weight_of_another_method_is_refused(method: str, make: Make) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - MONAI wraps it
        content(make("voc", method, weights__of_another=1), "objective")
    error: BaseException | None = raised.value
    while error is not None and not isinstance(error, TypeError):
        error = error.__cause__ or error.__context__
    assert "unexpected keyword argument 'of_another'" in str(error)


# What is particular to one data set


def test_voc_and_its_official_split(make: Make) -> None:
    workflow = make("voc", split="official", labeled_fraction=0.5)
    made = content(workflow, "data_list")
    assert {name: len(made[name]) for name in ("labeled", "unlabeled", "validation")} == {
        "labeled": 5,
        "unlabeled": 5,
        "validation": 3,
    }
    assert VOID in content(workflow, "validate#dataset").labels, "borders of val are void"


def test_cityscapes_labels_are_train_ids(make: Make, data_dirs: dict[str, Path]) -> None:
    dataset = content(make("cityscapes"), "train#dataset")
    for path, label in zip(dataset.files, dataset.labels, strict=True):
        ids = Path(path.replace("leftImg8bit", "gtFine").replace("_gtFine.png", "_gtFine_labelIds.png"))
        truth = train_ids(np.asarray(Image.open(ids)))
        assert ids.is_relative_to(data_dirs["cityscapes"])
        np.testing.assert_array_equal(label.numpy(), truth)


def test_data_without_background_has_no_surroundings_to_render_into(make: Make) -> None:
    error = error_of(lambda: step(make("cityscapes", RENDERING)))
    assert "no class of this data is background: take configs/method_mean_teacher.json" in error


@pytest.mark.parametrize("method", methods_of("cityscapes"))
def test_void_may_be_a_class_of_training(method: str | None, make: Make) -> None:
    """A twentieth channel is trained on void; 19 classes are named and scored."""
    workflow = make("cityscapes", method, void_is_class="true")
    output = step(workflow)
    void = content(workflow, "train#dataset").labels == VOID
    assert void.any()
    assert output["pred"].shape[1] == 20
    assert output["label"].max() == 19, "void is trained as the class behind the others"
    batch, plain = (
        content(make("cityscapes", method, void_is_class=v), "train#dataloader").batch(0) for v in (True, False)
    )
    assert torch.equal(batch["label"] == 19, plain["label"] == VOID)
    assert all(math.isfinite(value) for value in scalars(output).values())
    assert len(content(workflow, "model_card").class_names) == 19
    assert sum(name.startswith("iou_") for name in content(workflow, "validate#metrics")) == 19


def test_void_predicted_in_validation_takes_nothing_from_other_classes(make: Make) -> None:
    """As in the evaluation: the best of the 19 classes counts, so void everywhere changes no score."""
    scores = []
    for void_bias in (-50.0, 50.0):
        torch.manual_seed(0)
        workflow = make("cityscapes", void_is_class=True, validate__handlers=[])
        network = content(workflow, "network")
        *_, last = (module for module in network.modules() if isinstance(module, torch.nn.Conv2d))
        with torch.no_grad():
            last.weight[19] = 0
            last.bias[19] = void_bias
        evaluator = content(workflow, "validate#evaluator")
        evaluator.run()
        scores.append(dict(evaluator.state.metrics))
    assert scores[0] == pytest.approx(scores[1], nan_ok=True)


@pytest.mark.parametrize("value", ["perhaps", 1])
def test_void_is_a_class_or_is_not(value: object, make: Make) -> None:
    message = error_of(lambda: make("cityscapes", void_is_class=value).trainer)
    assert message.startswith("--void_is_class must be true or false, got")


def test_all_phases_of_an_unlabelled_study_are_unlabelled_data(make: Make, data_dirs: dict[str, Path]) -> None:
    """Two cines of three phases and three slices; on the acquired grid, so that slices can be compared with the files."""
    workflow = make("own volumes", labeled_fraction=None, size=[24, 20])
    made = content(workflow, "data_list")
    assert [len(made[section]) for section in ("labeled", "unlabeled", "validation")] == [3, 2, 1]
    assert len(content(workflow, "train#dataset")) == 3 * 3
    assert len(content(workflow, "validate#dataset")) == 3
    unlabeled = content(workflow, "train#unlabeled_dataset")
    assert len(unlabeled) == 2 * 3 * 3
    assert len(content(workflow, "train#dataloader")) == (9 + 18) // 2
    expected = []
    for item in made["unlabeled"]:
        study = np.asarray(nib.load(data_dirs["own volumes"] / item["image"]).dataobj, np.float64)
        assert study.shape == (24, 20, 3, 3)
        expected += [study[..., z, phase] for z in range(3) for phase in range(3)]
    expected = [(x - x.mean()) / (x.max() - x.min()) for x in expected]
    for slice_, x in zip(unlabeled.images[:, 0].numpy(), expected, strict=True):
        np.testing.assert_allclose(slice_, x, atol=1e-5)


@pytest.mark.parametrize("data", ["own photographs", "own volumes"])
def test_own_data_without_settings_is_trained_as_found(
    data: str, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"own photographs": [40, 48], "own volumes": [24, 20]}[data]
    workflow = make(data, size="$@data_list['size']", spacing="$@data_list['spacing']", labeled_fraction=None)
    output = step(workflow)
    assert list(output["image"].shape[2:]) == found
    printed = capsys.readouterr().out
    assert "3 (found): background, class 1, class 2" in printed
    assert f"{found[0]} x {found[1]} pixels (found)" in printed


def test_own_photographs_can_be_trained_as_grey(make: Make) -> None:
    workflow = make("own photographs", image_channels=1, num_classes=5)
    output = step(workflow)
    assert output["image"].shape[1] == 1
    assert output["pred"].shape[1] == 5


# Weights to start from


@pytest.fixture
def trained(make: Make, tmp_path: Path) -> Path:
    """``model.pt`` of a finished training on photographs."""
    known = ConfigParser.load_config_file(str(CONFIGS / "train.json"))["train"]["handlers"]
    validating = [handler for handler in known if handler["_target_"].endswith("IntervalValidation")]
    make("own photographs", folder="first", train__handlers=validating).run()
    return tmp_path / "first" / "models" / "model.pt"


def test_a_training_starts_from_given_weights(trained: Path, make: Make) -> None:
    given = torch.load(trained, weights_only=True)
    workflow = make("own photographs", pretrained=str(trained), validate__handlers=[])
    weights = content(workflow, "network").state_dict()
    assert weights.keys() == given.keys()
    assert all(torch.equal(weights[name], given[name]) for name in given)
    fresh = content(make("own photographs"), "network").state_dict()
    assert any(not torch.equal(fresh[name], given[name]) for name in given), "they are not those of the seed"

    evaluator = content(workflow, "validate#evaluator")
    evaluator.run()
    scores = {name: value for name, value in read_card(trained).scores.items() if name in evaluator.state.metrics}
    assert len(scores) >= 3 + DATA["own photographs"].classes
    assert evaluator.state.metrics == pytest.approx(scores), "the first validation is the last one of the given weights"

    step(workflow)
    now = content(workflow, "network").state_dict()
    assert any(not torch.equal(now[name], given[name]) for name in given), "they are trained further"


@pytest.mark.parametrize(
    ("data", "settings"),
    [("own photographs", {"filters": 3}), ("own photographs", {"num_classes": 4}), ("own volumes", {})],
    ids=["filters", "classes", "channels"],
)
def test_weights_of_another_architecture_are_refused(trained: Path, make: Make, data: str, settings: dict) -> None:
    message = error_of(lambda: step(make(data, pretrained=str(trained), **settings)))
    assert message.startswith(f"{trained} holds another architecture than the network: ")
    assert "entries differ" in message


@pytest.mark.parametrize("written", [None, b"no weights"], ids=["absent", "text"])
def test_weights_that_cannot_be_read_are_refused(written: bytes | None, make: Make, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    if written is not None:
        path.write_bytes(written)
    message = error_of(lambda: step(make("voc", pretrained=str(path))))
    assert message.startswith(f"{path} cannot be read as weights")
