"""Images that cannot be trained on, from the training's start to its message; and odd ones that can."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import torch
from imagesets import train_ids, write_cityscapes, write_folder, write_mask, write_voc
from monai.bundle import ConfigWorkflow
from PIL import Image
from running import ROOT, bundle_command

from scripts.errors import input_error_in

Damage = Callable[[Path], Path]
VOC = "VOCdevkit/VOC2012"
UNSUPERVISED = ("image_reconstruction", "mask_cycle", "image_cycle", "mask_adversarial", "image_adversarial")
WRITERS: dict[str, Callable[[Path], Path]] = {
    "voc": lambda folder: write_voc(folder, train=3, aug=2, val=1),
    "cityscapes": lambda folder: write_cityscapes(folder, train=4, val=1),
    "folder": lambda folder: write_folder(folder, labeled=5, unlabeled=2),
}


@pytest.fixture
def train(make_training: Callable[..., ConfigWorkflow], tmp_path: Path) -> Callable[..., ConfigWorkflow]:
    """Make a tiny training on a data set at ``tmp_path / "data"``, which keeps its cache in ``tmp_path / "cache"``."""

    def make(data: str, **settings: Any) -> ConfigWorkflow:
        configs = [str(ROOT / "configs" / name) for name in ("train.json", f"data_{data}.json")]
        settings = {"dataset_dir": str(tmp_path / "data"), "cache_dir": str(tmp_path / "cache")} | settings
        return make_training(config_file=configs, spacing=None, max_epochs=1, batch_size=2, **settings)

    return make


def refused(train: Callable[[], ConfigWorkflow], folder: Path) -> str:
    """The message with which a training ends, having left neither results nor half of a cache in ``folder``."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - MONAI wraps it
        train().run()
    known = input_error_in(raised.value)
    assert known is not None, raised.value
    assert not list(folder.rglob("*.partial"))
    assert not [path for path in (folder / "run").rglob("*") if path.is_file()]
    for cache in (folder / "cache").glob("*.pt"):
        tensors = torch.load(cache, weights_only=True)
        assert len(tensors["images"]) == len(tensors["cases"]), "of another section, and whole"
    message = str(known)
    assert "\n" not in message
    return message


# What is wrong with a file: each damages a good data set and returns what the message must name


def palette_saved_as_rgb(root: Path) -> Path:
    path = sorted((root / VOC / "SegmentationClassAug").iterdir())[1]
    Image.open(path).convert("RGB").save(path)
    return path


def mask_of_another_size(root: Path) -> Path:
    path = sorted((root / VOC / "SegmentationClassAug").iterdir())[1]
    mask = Image.open(path)
    mask.crop((0, 0, mask.width - 1, mask.height)).save(path)
    return path


def mask_of_a_class_too_many(root: Path) -> Path:
    return write_mask(root / VOC / "SegmentationClassAug" / "2007_000001.png", np.full((48, 40), 21), palette=True)


def street(root: Path, convert: Callable[[Image.Image], Image.Image]) -> Path:
    path = sorted(root.glob("leftImg8bit/train/*/*.png"))[1]
    convert(Image.open(path)).save(path)
    return path


def grey(root: Path) -> Path:
    return street(root, lambda image: image.convert("L"))


def grey_of_sixteen_bits(root: Path) -> Path:
    return street(root, lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257))


def rgb_of_sixteen_bits(root: Path) -> Path:
    path = sorted(root.glob("leftImg8bit/train/*/*.png"))[1]
    pixels = np.asarray(Image.open(path)).astype(np.uint16) * 257
    written = path.with_name("sixteen.png")  # SimpleITK chooses the format by the suffix
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels, isVector=True), str(written))
    return written.rename(path)


def transparent(root: Path) -> Path:
    def hole(image: Image.Image) -> Image.Image:
        image.putalpha(Image.fromarray(np.pad(np.full((20, 20), 255, np.uint8), ((6, 6), (22, 22)))))
        return image

    return street(root, hole)


def truncated(root: Path) -> Path:
    path = sorted(root.glob("leftImg8bit/train/*/*.png"))[1]
    path.write_bytes(path.read_bytes()[:500])
    return path


def train_ids_as_label_ids(root: Path) -> Path:
    path = sorted(root.glob("gtFine/*/*/*_labelIds.png"))[2]
    return write_mask(path, train_ids(np.asarray(Image.open(path))))


def train_ids_alone(root: Path) -> Path:
    path = sorted(root.glob("gtFine/*/*/*_labelIds.png"))[2]
    path.rename(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    return path


def no_extension(root: Path) -> Path:
    path = root / "images" / "scene 02.png"
    return path.rename(path.with_suffix(""))


def two_of_one_stem(root: Path) -> Path:
    Image.open(root / "images" / "scene 02.png").save(root / "images" / "scene 02.jpg")
    return root / "images"


def two_labels_of_one_stem(root: Path) -> Path:
    Image.open(root / "labels" / "scene 02.png").save(root / "labels" / "scene 02.bmp")
    return root / "labels"


def grey_among_rgb(root: Path) -> Path:
    path = root / "images" / "scene 02.png"
    Image.open(path).convert("L").save(path)
    return path.relative_to(root)


def deep_rgb_in_a_folder(root: Path) -> Path:
    path = root / "images" / "scene 02.png"
    pixels = np.asarray(Image.open(path)).astype(np.uint16) * 257
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels, isVector=True), str(path))
    return path


def rgb_mask_in_a_folder(root: Path) -> Path:
    path = root / "labels" / "scene 02.png"
    Image.open(path).convert("RGB").save(path)
    return path


def label_ids_in_a_folder(root: Path) -> Path:
    """As in Cityscapes, taken for classes. No file is to blame: the message names the values of all."""
    for path in (root / "labels").iterdir():
        write_mask(path, np.array([0, 7, 23, 33], np.uint8)[np.asarray(Image.open(path))])
    return Path("the labels hold the values 0, 7, 23")


@pytest.mark.parametrize(
    ("data", "damage", "message"),
    [
        ("voc", palette_saved_as_rgb, "holds colours (mode RGB), not class indices"),
        ("voc", mask_of_another_size, "a mask must have its image's size"),
        ("voc", mask_of_a_class_too_many, "has the label values 21, expected 0 to 20 or 255 (void)"),
        ("cityscapes", grey, "is grey, expected RGB as the rest of the set: convert it to RGB"),
        ("cityscapes", grey_of_sixteen_bits, "is 16-bit grey, expected 8 bits a channel"),
        ("cityscapes", rgb_of_sixteen_bits, "is 16-bit RGB, expected 8 bits a channel"),
        ("cityscapes", transparent, "is transparent in places (smallest opacity 0 of 255)"),
        ("cityscapes", truncated, "cannot be read as an image"),
        ("cityscapes", train_ids_as_label_ids, "Give the labelIds files"),
        ("cityscapes", train_ids_alone, "expected the labelIds files"),
        ("folder", no_extension, "is an image without extension, or no image"),
        ("folder", two_of_one_stem, "scene 02.jpg and scene 02.png in"),
        ("folder", two_labels_of_one_stem, "scene 02.bmp and scene 02.png in"),
        ("folder", grey_among_rgb, "the images are grey and colour mixed"),
        ("folder", deep_rgb_in_a_folder, "is 16-bit RGB, expected 8 bits a channel"),
        ("folder", rgb_mask_in_a_folder, "holds colours (mode RGB), not class indices"),
        ("folder", label_ids_in_a_folder, "expected class indices 0, 1, 2, ... without large gaps"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
@pytest.mark.parametrize("processes", [1, 3])
def test_what_cannot_be_trained_on(
    train: Callable[..., ConfigWorkflow], tmp_path: Path, data: str, damage: Damage, message: str, processes: int
) -> None:
    damaged = damage(WRITERS[data](tmp_path / "data"))
    said = refused(lambda: train(data, labeled_fraction=None, reading_processes=processes), tmp_path)
    assert message in said
    assert str(damaged) in said


@pytest.mark.parametrize("section", ["labeled", "validation"])
def test_a_bad_mask_is_found_before_training_wherever_it_is(
    train: Callable[..., ConfigWorkflow], tmp_path: Path, section: str
) -> None:
    WRITERS["voc"](tmp_path / "data")
    made = train("voc", labeled_fraction=0.5).parser.get_parsed_content("data_list")
    path = tmp_path / "data" / made[section][0]["label"]
    Image.open(path).convert("RGB").save(path)
    assert str(path) in refused(lambda: train("voc", labeled_fraction=0.5), tmp_path)


def test_a_repaired_file_lets_the_training_begin(train: Callable[..., ConfigWorkflow], tmp_path: Path) -> None:
    """What was read before the error is not taken for the whole."""
    root = WRITERS["voc"](tmp_path / "data")
    path = root / VOC / "SegmentationClassAug" / "2007_000001.png"
    whole = path.read_bytes()
    mask_of_another_size(root)
    refused(lambda: train("voc", labeled_fraction=None), tmp_path)
    path.write_bytes(whole)
    workflow = train("voc", labeled_fraction=None, weights={"segmentation": 1} | dict.fromkeys(UNSUPERVISED, 0))
    workflow.run()
    assert (tmp_path / "run" / "models" / "model.pt").is_file()


# Data lists


def listed(train: Callable[..., ConfigWorkflow], data: str, folder: Path, change: Callable[[dict], None]) -> Path:
    """Write the data list of a good data set, changed."""
    WRITERS[data](folder / "data")
    content = train(data, labeled_fraction=0.5).parser.get_parsed_content("data_list")
    change(content)
    path = folder / "my list.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("data", WRITERS)
@pytest.mark.parametrize(("section", "key"), [("labeled", "label"), ("unlabeled", "image"), ("validation", "image")])
def test_a_list_that_names_a_missing_file(
    train: Callable[..., ConfigWorkflow], tmp_path: Path, data: str, section: str, key: str
) -> None:
    def change(content: dict) -> None:
        content[section][0][key] = "elsewhere/absent.png"

    split = listed(train, data, tmp_path, change)
    said = refused(lambda: train(data, split=str(split), labeled_fraction=None), tmp_path)
    assert said.startswith(f"data list {split} names elsewhere/absent.png, not there in {tmp_path / 'data'}")


def test_a_list_that_names_an_image_without_extension(train: Callable[..., ConfigWorkflow], tmp_path: Path) -> None:
    def change(content: dict) -> None:
        item = content["unlabeled"][0]
        path = tmp_path / "data" / item["image"]
        path.rename(path.with_suffix(""))
        item["image"] = item["image"].removesuffix(".png")

    split = listed(train, "folder", tmp_path, change)
    said = refused(lambda: train("folder", split=str(split), labeled_fraction=None), tmp_path)
    assert "is an image without extension, or no image" in said


def test_a_list_that_calls_train_ids_label_ids(train: Callable[..., ConfigWorkflow], tmp_path: Path) -> None:
    """A list of a Cityscapes copy whose masks are mapped already, as own data with the official map."""

    def change(content: dict) -> None:
        for path in (tmp_path / "data").glob("gtFine/*/*/*.png"):
            write_mask(path, train_ids(np.asarray(Image.open(path))))

    split = listed(train, "cityscapes", tmp_path, change)
    said = refused(lambda: train("folder", split=str(split), labeled_fraction=None, size=[32, 64]), tmp_path)
    assert "these are classes with 255 for void" in said


# What passes


def test_an_opaque_alpha_channel_passes(train: Callable[..., ConfigWorkflow], tmp_path: Path) -> None:
    root = WRITERS["cityscapes"](tmp_path / "data")
    plain = train("cityscapes").parser.get_parsed_content("train#dataset")

    for path in root.glob("leftImg8bit/*/*/*.png"):
        Image.open(path).convert("RGBA").save(path)
    again = train("cityscapes").parser.get_parsed_content("train#dataset")
    assert Image.open(again.files[0]).mode == "RGBA"
    assert torch.equal(plain.images, again.images)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_unicode_and_spaces_in_paths(train: Callable[..., ConfigWorkflow], tmp_path: Path, form: str) -> None:
    """Trained, evaluated and drawn; ``form`` is how images are written, labels being composed."""
    root = write_folder(tmp_path / "Straßen & Plätze (図 1)", labeled=5, unlabeled=2)
    for path in sorted(root.glob("*/*.png")):
        name = unicodedata.normalize(form if path.parent.name == "images" else "NFC", f"Übersicht Čápů {path.name}")
        path.rename(path.with_name(name))
    run = tmp_path / "Läufe 1" / "ein Lauf"
    train("folder", folder=run, dataset_dir=str(root), cache_dir=str(tmp_path / "Lager ß"), evaluate=True).run()
    summary = json.loads((run / "evaluation" / "validation" / "summary.json").read_text(encoding="utf-8"))
    assert summary["case_count"] == 1
    assert "Übersicht Čápů scene" in unicodedata.normalize("NFC", summary["pictures"]["best"])
    assert (run / "evaluation" / "validation" / "best.png").is_file()
    assert len(list((tmp_path / "Lager ß").glob("*.pt"))) == 3


def test_the_command_ends_with_the_message_alone(tmp_path: Path) -> None:
    damaged = palette_saved_as_rgb(WRITERS["voc"](tmp_path / "data"))
    result = bundle_command(
        "training",
        folder=tmp_path / "run",
        dataset_dir=tmp_path / "data",
        config="['configs/train.json','configs/data_voc.json']",
        spacing=None,
        labeled_fraction=1.0,
        batch_size=2,
        cache_dir=tmp_path / "cache",
        mlflow="false",
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    paragraph = result.stderr.strip().splitlines()[-1]
    assert paragraph.startswith(f"Error: mask {damaged} holds colours (mode RGB), not class indices")
    assert not (tmp_path / "run").exists()
    assert not list((tmp_path / "cache").glob(".*"))
