"""``configs/evaluate.json`` on photographs: scores at both sizes against NumPy, tables, pictures, and what is refused."""

import csv
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from imagesets import train_ids, write_cityscapes, write_folder, write_mask, write_voc
from monai.bundle import ConfigWorkflow
from numpy.typing import NDArray
from PIL import Image
from running import ROOT, bundle_command
from scipy.ndimage import map_coordinates

from scripts.data.cityscapes import CLASSES, LABEL_MAP
from scripts.data.image_grid import ImageGrid, resize_image
from scripts.errors import InputError, input_error_in
from scripts.evaluation.evaluate_images import ImageEvaluation
from scripts.evaluation.image_cases import ImageEvaluationPreprocessing
from scripts.evaluation.workflow import evaluate_run
from scripts.model_card import ModelCard, load_model, sha256
from scripts.networks.resnet_generator import ResNetGenerator
from scripts.training.run_record import RunRecord

OUTPUTS = ["best.png", "cases.csv", "median.png", "summary.json", "summary.md", "worst.png"]
SIZE = (32, 32)


@pytest.fixture(scope="module")
def voc_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a training on VOC that ended with its evaluation, and what it printed."""
    folder = tmp_path_factory.mktemp("voc")
    result = bundle_command(
        "training",
        folder=folder / "run",
        dataset_dir=write_voc(folder / "data"),
        config="['configs/train.json','configs/data_voc.json']",
        split="official",
        spacing=None,
        size=list(SIZE),
        batch_size=2,
        max_epochs=2,
        learning_rate=0.02,
        evaluate="true",
        mlflow="false",
        cache_dir=folder / "cache",
    )
    assert result.returncode == 0, result.stderr
    return folder / "run", result.stdout


def summary_of(run: Path) -> dict[str, Any]:
    text = (run / "evaluation" / "validation" / "summary.json").read_text(encoding="utf-8")
    return json.loads(text, parse_constant=pytest.fail)


# An evaluation of its own


class Predicted:
    """What a model gives for an image file, in NumPy: labels at the size of the file and of the network."""

    def __init__(self, model: Path, size: tuple[int, int], classes: int, mode: str = "RGB") -> None:
        self.network, _ = load_model(model)
        self.size, self.classes, self.mode = size, classes, mode

    def __call__(self, path: Path) -> tuple[NDArray, NDArray]:
        pixels = np.asarray(Image.open(path).convert(self.mode))
        channels = torch.from_numpy(np.atleast_3d(pixels).transpose(2, 0, 1).copy())
        small = resize_image(channels, self.size).double().numpy()
        x = np.stack([(channel - channel.mean()) / (channel.max() - channel.min()) for channel in small])
        with torch.no_grad():
            logits = self.network(torch.from_numpy(x).float()[None])[0].double().numpy()
        exponentials = np.exp(logits[: self.classes])
        probabilities = exponentials / exponentials.sum(0)
        places = [
            (np.arange(new) + 0.5) * old / new - 0.5 for new, old in zip(pixels.shape[:2], self.size, strict=True)
        ]
        rows, columns = np.meshgrid(*places, indexing="ij")
        native = [map_coordinates(p, (rows, columns), order=1, mode="nearest") for p in probabilities]
        return np.stack(native).argmax(0), probabilities.argmax(0)


def nearest(mask: NDArray, size: tuple[int, int]) -> NDArray:
    rows, columns = (
        np.floor((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]


def scores(pairs: list[tuple[NDArray, NDArray]], classes: int, background: bool) -> dict[str, Any]:
    """Of pairs of prediction and truth; class by class and image by image, void (255) left out."""
    valid = [(p[t != 255], t[t != 255]) for p, t in pairs]
    per_class: list[float | None] = []
    for index in range(classes):
        union = sum(int(((p == index) | (t == index)).sum()) for p, t in valid)
        both = sum(int(((p == index) & (t == index)).sum()) for p, t in valid)
        per_class.append(both / union if union else None)
    first = int(background)
    dice = [
        2 * ((p == index) & (t == index)).sum() / ((p == index).sum() + (t == index).sum())
        for p, t in valid
        for index in range(first, classes)
        if ((p == index) | (t == index)).any()
    ]
    return {
        "class_iou": per_class,
        "miou": np.mean([value for value in per_class if value is not None]),
        "foreground_miou": np.mean([value for value in per_class[first:] if value is not None]),
        "mean_foreground_dice": np.mean(dice),
        "pixel_accuracy": sum(int((p == t).sum()) for p, t in valid) / sum(len(t) for _, t in valid),
    }


def assert_scored(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    near = {"rel": 0, "abs": 2e-3}  # a pixel in a tie may fall to either side
    for name in ("miou", "foreground_miou", "mean_foreground_dice", "pixel_accuracy"):
        assert found[name] == pytest.approx(expected[name], **near), name
    class_iou = list(found["data_set_iou"].values())
    assert [value is None for value in class_iou] == [value is None for value in expected["class_iou"]]
    known = [(a, b) for a, b in zip(class_iou, expected["class_iou"], strict=True) if a is not None]
    assert [a for a, _ in known] == pytest.approx([b for _, b in known], **near)


# A training's own evaluation


def test_scores_are_numpys_at_both_sizes(voc_run: tuple[Path, str]) -> None:
    run, _ = voc_run
    data = run.parent / "data"
    items = json.loads((run / "data_list.json").read_text(encoding="utf-8"))["validation"]
    predicted = Predicted(run / "models" / "model.pt", SIZE, 21)
    native, small = [], []
    for item in items:
        truth = np.asarray(Image.open(data / item["label"]))
        assert (truth == 255).any(), "void must be there to be left out"
        predictions = predicted(data / item["image"])
        native.append((predictions[0], truth))
        small.append((predictions[1], nearest(truth, SIZE)))
    assert len({truth.shape for _, truth in native}) == 2, "images of two sizes"
    assert len(np.unique([prediction for prediction, _ in small])) >= 2, "more than one class is predicted"

    summary = summary_of(run)
    expected = scores(native, 21, background=True)
    assert 0 < sum(value is None for value in expected["class_iou"]) < 20, "absent classes must be there"
    assert_scored(summary, expected)
    assert_scored(summary["training_size"], scores(small, 21, background=True))
    assert summary["case_count"] == 3
    per_image = {item["image"]: scores([pair], 21, True) for item, pair in zip(items, native, strict=True)}
    for case in summary["ranking"]:
        assert case["miou"] == pytest.approx(per_image[case["case"]]["foreground_miou"], abs=5e-3)


def test_what_is_written(voc_run: tuple[Path, str]) -> None:
    run, printed = voc_run
    output = run / "evaluation" / "validation"
    assert sorted(os.listdir(output)) == OUTPUTS
    for name in ("worst", "median", "best"):
        with Image.open(output / f"{name}.png") as picture:
            assert min(picture.size) > 300
            assert len(picture.convert("RGB").getcolors(10**6)) > 50, "not blank"
    page = (output / "summary.md").read_text(encoding="utf-8")
    assert page in printed
    summary = summary_of(run)
    assert [summary["pictures"][name] for name in ("worst", "median", "best")] == [
        summary["ranking"][place]["case"] for place in range(3)
    ]
    ranked = [case["miou"] for case in summary["ranking"]]
    assert ranked == sorted(ranked)


def test_the_page_names_both_sizes(voc_run: tuple[Path, str]) -> None:
    run, _ = voc_run
    page, summary = (run / "evaluation" / "validation" / "summary.md").read_text(encoding="utf-8"), summary_of(run)
    rows = {
        cells[0]: cells[1:]
        for cells in (
            [part.strip() for part in line.strip("|").split("|")] for line in page.splitlines() if "|" in line
        )
    }
    assert rows[""] == ["file size", "training size"]
    for title, key in (("mIoU, 20 classes without background", "foreground_miou"), ("mIoU, all 21 classes", "miou")):
        assert rows[title] == [f"{part[key]:.3f}" for part in (summary, summary["training_size"])]
    absent = [name for name, value in summary["data_set_iou"].items() if value is None]
    assert all(not any(character.isdigit() for character in rows[name][0]) for name in absent)
    assert "Training size: 32 x 32 pixels" in page
    assert "Void pixels are not counted" in page
    assert page.startswith("# VOC 2012, validation section: 3 images\n")


def test_a_row_an_image(voc_run: tuple[Path, str]) -> None:
    run, _ = voc_run
    with open(run / "evaluation" / "validation" / "cases.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    summary = summary_of(run)
    assert {row["image"]: float(row["miou"]) for row in rows} == pytest.approx(
        {case["case"]: case["miou"] for case in summary["ranking"]}
    )
    assert list(rows[0])[2:] == summary["card"]["class_names"]


def test_a_section_that_is_empty_is_refused(voc_run: tuple[Path, str]) -> None:
    run, _ = voc_run
    with pytest.raises(Exception) as raised:  # noqa: PT011 - MONAI wraps it
        evaluate_run(run, section="test", device="cpu")
    known = input_error_in(raised.value)
    assert f"the test section of {run}'s data list is empty" in str(known)
    assert "give another --section" in str(known)
    assert not (run / "evaluation" / "test").exists()


def test_the_same_again_gives_the_same(voc_run: tuple[Path, str], tmp_path: Path) -> None:
    run, _ = voc_run
    evaluate_run(run, device="cpu", output_dir=str(tmp_path / "again"))
    again = json.loads((tmp_path / "again" / "summary.json").read_text(encoding="utf-8"))
    assert again == summary_of(run)


# Runs as a training would leave them, around an untrained network


Make = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> Make:
    """Write the folder of a run: ``content`` is its data list; ``extra`` channels of the network are not classes."""

    def make(content: dict, data: Path, size: tuple[int, int], extra: int = 0, channels: int = 3) -> Path:
        torch.manual_seed(1)
        names = tuple(content["labels"].values())
        definition = {
            "_target_": "scripts.networks.resnet_generator.ResNetGenerator",
            "in_channels": channels,
            "out_channels": len(names) + extra,
            "filters": 2,
            "blocks": 1,
        }
        network = ResNetGenerator(channels, len(names) + extra, filters=2, blocks=1)
        last = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)][-1]
        with torch.no_grad():
            last.weight *= 30  # so that many classes win somewhere
        card = ModelCard(
            definition,
            names,
            None,
            size,
            sha256(content),
            content["name"],
            "none",
            "0.2.0",
            background=content["background"],
            colors=content.get("colors"),
            image_channels=channels,
        )
        card.save(tmp_path / "run" / "models" / "model.pt", network, {})
        RunRecord(tmp_path / "run", tmp_path / "run" / "models" / "model.pt", {}, content, data).write()
        return tmp_path / "run"

    return make


def listed(images: list[str], masks: list[str], **known: Any) -> dict:
    """A data list whose validation section are all, and whose test section is the first, of the images."""
    items = [{"image": image, "label": mask} for image, mask in zip(images, masks, strict=True)]
    return {"name": "set", "labeled": [], "unlabeled": [], "validation": items, "test": items[:1]} | known


def test_every_street_class_counts_and_the_void_channel_does_not(make_run: Make, tmp_path: Path) -> None:
    """Cityscapes trained with void as a class: 20 channels, 19 of them scored, none of them background."""
    data = write_cityscapes(tmp_path / "data", train=1, val=3)
    labels = sorted(data.glob("gtFine/val/*/*.png"))
    images = sorted(data.glob("leftImg8bit/val/*/*.png"))
    content = listed(
        [path.relative_to(data).as_posix() for path in images],
        [path.relative_to(data).as_posix() for path in labels],
        labels={str(index): entry.name for index, entry in enumerate(CLASSES)},
        label_map=LABEL_MAP,
        background=False,
    )
    run = make_run(content, data, (16, 32), extra=1)
    evaluate_run(run, device="cpu")

    predicted = Predicted(run / "models" / "model.pt", (16, 32), 19)
    truths = [train_ids(np.asarray(Image.open(path))) for path in labels]
    predictions = [predicted(path) for path in images]
    summary = summary_of(run)
    native = [(p, t) for (p, _), t in zip(predictions, truths, strict=True)]
    small = [(p, nearest(t, (16, 32))) for (_, p), t in zip(predictions, truths, strict=True)]
    assert len(np.unique([p for p, _ in small])) > 5
    assert len(summary["data_set_iou"]) == 19
    assert_scored(summary, scores(native, 19, background=False))
    assert_scored(summary["training_size"], scores(small, 19, background=False))
    assert summary["miou"] == summary["foreground_miou"], "no class is background"
    page = (run / "evaluation" / "validation" / "summary.md").read_text(encoding="utf-8")
    assert "mIoU, all 19 classes" in page
    assert "without" not in page.partition("IoU by class")[0]


@pytest.fixture
def folder_run(make_run: Make, tmp_path: Path) -> Path:
    """On grey photographs of three classes; the last image is void everywhere but for a strip of class 0."""
    data = write_folder(tmp_path / "data", labeled=4, unlabeled=0, channels=1)
    mask = np.full((40, 48), 255)
    mask[:4] = 0
    write_mask(data / "labels" / "scene 03.png", mask)
    names = [f"scene {number:02d}.png" for number in range(4)]
    content = listed(
        [f"images/{name}" for name in names],
        [f"labels/{name}" for name in names],
        labels={"0": "ground", "1": "disc", "2": "ring"},
        colors={"1": [255, 0, 0]},
        background=True,
    )
    return make_run(content, data, (20, 28), channels=1)


def test_grey_photographs(folder_run: Path) -> None:
    data = folder_run.parent / "data"
    evaluate_run(folder_run, device="cpu")
    predicted = Predicted(folder_run / "models" / "model.pt", (20, 28), 3, mode="L")
    pairs, small = [], []
    for label in sorted((data / "labels").iterdir()):
        truth = np.asarray(Image.open(label))
        native_prediction, small_prediction = predicted(data / "images" / label.name)
        pairs.append((native_prediction, truth))
        small.append((small_prediction, nearest(truth, (20, 28))))
    summary = summary_of(folder_run)
    assert_scored(summary, scores(pairs, 3, background=True))
    assert_scored(summary["training_size"], scores(small, 3, background=True))
    assert sorted(os.listdir(folder_run / "evaluation" / "validation")) == OUTPUTS


def test_a_test_section_is_evaluated_where_there_is_one(folder_run: Path) -> None:
    evaluate_run(folder_run, device="cpu", section="test")
    output = folder_run / "evaluation" / "test"
    assert sorted(os.listdir(output)) == OUTPUTS
    page = (output / "summary.md").read_text(encoding="utf-8")
    assert page.startswith("# set, test section: 1 images\n")
    assert "chosen by its scores" not in page, "the test section chose no model"


def test_an_image_of_void_alone_is_no_failure(folder_run: Path) -> None:
    """It has no score of its own that counts, and the set's is that of the other images."""
    data = folder_run.parent / "data"
    write_mask(data / "labels" / "scene 03.png", np.full((40, 48), 255))
    evaluate_run(folder_run, device="cpu")
    predicted = Predicted(folder_run / "models" / "model.pt", (20, 28), 3, mode="L")
    pairs = [
        (predicted(data / "images" / label.name)[0], np.asarray(Image.open(label)))
        for label in sorted((data / "labels").iterdir())[:3]
    ]
    summary = summary_of(folder_run)
    assert_scored(summary, scores(pairs, 3, background=True))
    assert summary["case_count"] == 4


def test_a_mask_of_another_size_is_refused(folder_run: Path) -> None:
    data = folder_run.parent / "data"
    write_mask(data / "labels" / "scene 02.png", np.zeros((40, 47)))
    with pytest.raises(Exception) as raised:  # noqa: PT011 - MONAI wraps it
        evaluate_run(folder_run, device="cpu")
    assert "a mask must have its image's size" in str(input_error_in(raised.value))
    assert not (folder_run / "evaluation" / "validation" / "summary.json").exists()


# What the evaluator reads


def test_an_item_is_read_at_both_sizes(tmp_path: Path) -> None:
    data = write_folder(tmp_path, labeled=1, unlabeled=0)
    paths = {key: str(tmp_path / f"{key}s" / "scene 00.png") for key in ("image", "label")}
    assert data == tmp_path
    done = ImageEvaluationPreprocessing(ImageGrid((20, 28)), 3, {"0": 0, "1": 2})(paths | {"name": "kept"})
    truth = np.asarray(Image.open(paths["label"]))
    truth = np.where(truth == 0, 0, np.where(truth == 1, 2, 255))
    np.testing.assert_array_equal(done["label"].numpy(), truth[None])
    np.testing.assert_array_equal(done["small_label"].numpy(), nearest(truth, (20, 28))[None])
    assert done["label"].dtype == done["small_label"].dtype == torch.uint8
    assert (done["image"].dtype, tuple(done["image"].shape)) == (torch.float32, (3, 20, 28))
    assert done["image"].mean((1, 2)).abs().max() < 1e-5
    assert (done["image"].amax((1, 2)) - done["image"].amin((1, 2))).tolist() == pytest.approx([1, 1, 1])
    assert (done["file_size"], done["name"]) == ([40, 48], "kept")


def test_an_item_with_values_that_are_no_class_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, labeled=1, unlabeled=0)
    paths = {key: str(tmp_path / f"{key}s" / "scene 00.png") for key in ("image", "label")}
    with pytest.raises(InputError, match=r"scene 00\.png has the label values 2, expected 0 to 1"):
        ImageEvaluationPreprocessing(ImageGrid((20, 28)), 2)(paths)


def test_the_ecosystem_finds_what_it_expects(voc_run: tuple[Path, str]) -> None:
    workflow = ConfigWorkflow(
        str(ROOT / "configs" / "evaluate.json"),
        workflow_type="infer",
        logging_file=False,
        bundle_root=str(ROOT),
        run_dir=str(voc_run[0]),
        device="cpu",
    )
    workflow.initialize()
    assert workflow.check_properties() == []


def test_a_likelihood_is_refused_for_photographs(folder_run: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        evaluate_run(folder_run, output_dir=str(tmp_path / "out"), likelihood=0.5)
    assert "--likelihood is for volumes" in str(input_error_in(caught.value))
    assert not (tmp_path / "out").exists()


def test_a_largest_component_is_refused_for_photographs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--largest_component is for volumes"):
        ImageEvaluation(tmp_path / "out", None, None, "", "validation", "", largest_component=True)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
