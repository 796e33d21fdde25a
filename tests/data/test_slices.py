"""Slices in memory: their values, their cache, what is opened for them, and what is refused."""

import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

from scripts.data.acdc import data_list
from scripts.data.preprocessing import SliceGrid
from scripts.data.slices import SliceDataset
from scripts.errors import InputError

WriteVolume = Callable[..., Path]
RNG = np.random.default_rng(0)
GRID = SliceGrid((1.5, 1.5), (16, 16))
TRANSFORM = GRID.preprocessing(("image", "label"))


def volume(*shape: int) -> np.ndarray:
    return RNG.integers(5, 400, shape).astype(np.int16)


def labels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 4, shape).astype(np.uint8)


def normalised(image: np.ndarray) -> np.ndarray:
    return (image - image.mean()) / (image.max() - image.min())


class Counting:
    """A transform that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, item: dict) -> dict:
        self.calls += 1
        return TRANSFORM(item)


# Values


def test_slices_are_what_numpy_makes_of_the_volumes(write_volume: WriteVolume, tmp_path: Path) -> None:
    """On the acquired spacing: cropped from 20, padded from 12 with the volume's minimum, normalised slice by slice."""
    images, masks = [volume(20, 12, 3), volume(20, 12, 2)], [labels(20, 12, 3), labels(20, 12, 2)]
    items = [
        {
            "image": write_volume(f"{n}.nii.gz", image).name,
            "label": write_volume(f"{n}_gt.nii.gz", mask).name,
            "patient": n,
        }
        for n, (image, mask) in enumerate(zip(images, masks, strict=True))
    ]
    dataset = SliceDataset(items, TRANSFORM, tmp_path)

    index = 0
    for case, (image, mask) in enumerate(zip(images, masks, strict=True)):
        for z in range(image.shape[2]):
            expected = np.full((16, 16), image.min(), float)
            expected[:, 2:14] = image[2:18, :, z]
            truth = np.zeros((16, 16), int)
            truth[:, 2:14] = mask[2:18, :, z]
            item = dataset[index]
            np.testing.assert_allclose(item["image"].numpy()[0], normalised(expected), atol=1e-5)
            np.testing.assert_array_equal(item["label"].numpy(), truth)
            assert item["case"] == case
            index += 1
    assert index == len(dataset) == 5
    assert dataset.files == [str(tmp_path / item["image"]) for item in items]
    assert dataset.names([0, 2, 3]) == [dataset.files[0], dataset.files[0], dataset.files[1]]


def test_tensors_are_plain_and_of_the_promised_types(phantom_dir: Path) -> None:
    dataset = SliceDataset(data_list(phantom_dir)["labeled"][:2], TRANSFORM, phantom_dir)
    assert type(dataset.images) is type(dataset.labels) is type(dataset.cases) is torch.Tensor
    assert (dataset.images.dtype, dataset.labels.dtype, dataset.cases.dtype) == (
        torch.float32,
        torch.uint8,
        torch.int64,
    )
    assert dataset.images.shape == (10, 1, 16, 16)
    assert dataset.labels.shape == (10, 16, 16)
    item = dataset[3]
    assert {name: (type(t), t.dtype, tuple(t.shape)) for name, t in item.items()} == {
        "image": (torch.Tensor, torch.float32, (1, 16, 16)),
        "label": (torch.Tensor, torch.int64, (16, 16)),
        "case": (torch.Tensor, torch.int64, ()),
    }


def test_without_labels_there_are_none(phantom_dir: Path) -> None:
    dataset = SliceDataset(data_list(phantom_dir, labeled_patients=1)["unlabeled"][:2], TRANSFORM, phantom_dir)
    assert dataset.labels is None
    assert set(dataset[0]) == {"image", "case"}


@pytest.mark.parametrize("phase", ["all", None])
def test_phases_of_a_cine_are_slices_and_otherwise_channels(write_volume: WriteVolume, phase: str | None) -> None:
    cine = volume(16, 16, 3, 4)
    item = {"image": str(write_volume("4d.nii.gz", cine))} | ({"phase": phase} if phase else {})
    images = SliceDataset([item], TRANSFORM).images
    expected = np.stack([[normalised(cine[..., z, t]) for t in range(4)] for z in range(3)])
    if phase == "all":
        expected = expected.reshape(12, 1, 16, 16)
    np.testing.assert_allclose(images.numpy(), expected, atol=1e-5)


def test_any_transform_serves_also_one_of_single_images(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).touch()

    def read(item: dict) -> dict:
        value = float(item["image"].endswith("b"))
        return {"image": torch.full((3, 4, 5), value), "label": torch.full((1, 4, 5), 255, dtype=torch.uint8)}

    dataset = SliceDataset([{"image": n, "label": n} for n in "ab"], read, tmp_path)
    assert dataset.images.shape == (2, 3, 4, 5)
    assert dataset.images.mean((1, 2, 3)).tolist() == [0, 1]
    assert dataset[1]["label"].unique().tolist() == [255]


def test_no_items_make_an_empty_set() -> None:
    dataset = SliceDataset([], TRANSFORM)
    assert len(dataset) == 0
    assert dataset.labels is None


# Labels that must stay closed


class OpenedFiles:
    """The files that Python opens while ``watching``; an audit hook sees each, whoever opens it, and stays for good."""

    def __init__(self) -> None:
        self.watching = False
        self.paths: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if self.watching and event in ("open", "os.open"):
            self.paths.append(str(arguments[0]))


OPENED = OpenedFiles()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Paths opened by Python or by SimpleITK during a test."""
    read_image = SimpleITK.ReadImage

    def watched(path: str, *args: object, **kwargs: object) -> SimpleITK.Image:
        OPENED.paths.append(str(path))
        return read_image(path, *args, **kwargs)

    monkeypatch.setattr(SimpleITK, "ReadImage", watched)
    OPENED.paths, OPENED.watching = [], True
    yield OPENED.paths
    OPENED.watching = False


def test_label_files_of_unlabelled_patients_are_never_opened(
    phantom_dir: Path, opened: list[str], tmp_path: Path
) -> None:
    content = data_list(phantom_dir, labeled_patients=2)
    for section in ("labeled", "unlabeled", "validation"):
        SliceDataset(content[section], TRANSFORM, phantom_dir, cache_dir=tmp_path, name=section)
    with_label = {Path(path).parent.name for path in opened if "_gt" in path}
    with_image = {Path(path).parent.name for path in opened if ".nii" in path and "_gt" not in path}
    patients = content["patients"]
    assert with_label == {*patients["labeled"], *patients["validation"]}
    assert with_image == with_label | set(patients["unlabeled"])


@pytest.mark.parametrize("fate", ["deleted", "spoilt"])
def test_unlabelled_patients_need_no_label_files(phantom_dir: Path, tmp_path: Path, fate: str) -> None:
    root = Path(shutil.copytree(phantom_dir, tmp_path / "copy"))
    content = data_list(root, labeled_patients=2)
    expected = SliceDataset(content["unlabeled"], TRANSFORM, root).images
    for name in content["patients"]["unlabeled"]:
        for path in (root / "training" / name).glob("*_gt.nii.gz"):
            path.unlink() if fate == "deleted" else path.write_bytes(b"spoilt")
    assert data_list(root, labeled_patients=2) == content
    assert torch.equal(SliceDataset(content["unlabeled"], TRANSFORM, root).images, expected)
    assert len(SliceDataset(content["labeled"], TRANSFORM, root)) > 0


# Cache


@pytest.fixture
def items(write_volume: WriteVolume) -> list[dict]:
    return [
        {"image": str(write_volume(f"{n}.nii.gz", volume(16, 16, 2))), "label": str(write_volume(f"{n}_gt.nii.gz", labels(16, 16, 2)))}
        for n in range(2)
    ]  # fmt: skip


def same(one: SliceDataset, two: SliceDataset) -> bool:
    return all(torch.equal(getattr(one, name), getattr(two, name)) for name in ("images", "labels", "cases"))


def test_the_second_time_comes_from_the_cache(items: list[dict], tmp_path: Path) -> None:
    count = Counting()
    first = SliceDataset(items, count, cache_dir=tmp_path / "cache", cache_key=[1.5, 16])
    assert count.calls == 2
    second = SliceDataset(items, count, cache_dir=tmp_path / "cache", cache_key=[1.5, 16])
    assert count.calls == 2
    assert same(first, second)
    assert same(first, SliceDataset(items, count))
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".pt", ".lock"}


def test_a_changed_file_is_preprocessed_again(items: list[dict], write_volume: WriteVolume, tmp_path: Path) -> None:
    count = Counting()
    first = SliceDataset(items, count, cache_dir=tmp_path)
    write_volume("1_gt.nii.gz", labels(16, 16, 2))
    second = SliceDataset(items, count, cache_dir=tmp_path)
    assert count.calls == 4
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.labels, second.labels)


def test_a_file_of_a_new_time_is_preprocessed_again(items: list[dict], tmp_path: Path) -> None:
    """It may have been written anew with as many bytes."""
    count = Counting()
    SliceDataset(items, count, cache_dir=tmp_path)
    time = os.stat(items[1]["label"]).st_mtime_ns + 10**9
    os.utime(items[1]["label"], ns=(time, time))
    SliceDataset(items, count, cache_dir=tmp_path)
    assert count.calls == 4


@pytest.mark.parametrize(
    "change",
    [{"cache_key": [2.0, 16]}, {"drop": 1}, {"swap": True}, {"phase": "all"}, {"unlabelled": True}],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_or_items_are_another_cache(items: list[dict], tmp_path: Path, change: dict) -> None:
    count = Counting()
    SliceDataset(items, count, cache_dir=tmp_path, cache_key=[1.5, 16])
    others = items[::-1] if "swap" in change else items[: len(items) - change.get("drop", 0)]
    if "phase" in change:
        others = [item | change for item in others]
    if "unlabelled" in change:
        others = [{"image": item["image"]} for item in others]
    again = SliceDataset(others, count, cache_dir=tmp_path, cache_key=change.get("cache_key", [1.5, 16]))
    assert count.calls == 2 + len(others)
    assert again.files == [item["image"] for item in others]


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "of other content"])
def test_a_broken_cache_is_made_anew_with_a_warning(
    items: list[dict], tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    count, cache = Counting(), tmp_path / "cache"
    first = SliceDataset(items, count, cache_dir=cache)
    (path,) = cache.glob("*.pt")
    whole = path.read_bytes()
    if damage == "of other content":
        torch.save({"images": first.images}, path)
    else:
        path.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}[damage])
    with caplog.at_level(logging.WARNING):
        second = SliceDataset(items, count, cache_dir=cache)
    assert f"{path} is broken" in caplog.text
    assert count.calls == 4
    assert same(first, second)
    assert same(first, SliceDataset(items, count, cache_dir=cache))
    assert count.calls == 4


def test_a_half_written_cache_of_a_killed_run_is_not_used(items: list[dict], tmp_path: Path) -> None:
    count, cache = Counting(), tmp_path / "cache"
    first = SliceDataset(items, count, cache_dir=cache)
    (path,) = cache.glob("*.pt")
    path.rename(cache / f".{path.name}.4711.partial")
    assert same(first, SliceDataset(items, count, cache_dir=cache))
    assert count.calls == 4
    assert path.is_file()


def test_a_failed_reading_leaves_the_cache_to_the_next(items: list[dict], tmp_path: Path) -> None:
    """Even while its error is kept, as a notebook does."""

    def fail(item: dict) -> dict:
        raise ValueError("broken")

    with pytest.raises(InputError) as kept:
        SliceDataset(items, fail, tmp_path, cache_dir=tmp_path / "cache")
    with ThreadPoolExecutor(1) as other:
        again = other.submit(SliceDataset, items, TRANSFORM, tmp_path, cache_dir=tmp_path / "cache")
        assert len(again.result(timeout=30)) > 0
    assert kept.value is not None


def test_a_cache_that_cannot_be_written_is_refused(items: list[dict], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match=r"could not be written.*give another folder"):
        SliceDataset(items, TRANSFORM, cache_dir=tmp_path / "cache")


# What is refused


def test_a_file_that_is_not_there_is_named(items: list[dict], tmp_path: Path) -> None:
    items[1]["label"] = "absent_gt.nii.gz"
    with pytest.raises(InputError, match=r"absent_gt\.nii\.gz, which is not there: check dataset_dir"):
        SliceDataset(items, TRANSFORM, tmp_path)


def test_an_item_without_an_image_is_refused(items: list[dict]) -> None:
    del items[1]["image"]
    with pytest.raises(InputError, match=r"an item without an image: .*1_gt\.nii\.gz.*path 'image'"):
        SliceDataset(items, TRANSFORM)


def test_some_items_without_label_are_refused(items: list[dict]) -> None:
    del items[1]["label"]
    with pytest.raises(InputError, match=r"1 of 2 training items have a label, .*1\.nii\.gz.*all or none.*'unlabeled'"):
        SliceDataset(items, TRANSFORM, name="training")


def test_sizes_that_differ_are_refused(tmp_path: Path) -> None:
    sizes = iter([4, 6])
    for name in "ab":
        (tmp_path / name).touch()

    def read(item: dict) -> dict:
        return {"image": torch.zeros(1, 4, next(sizes))}

    with pytest.raises(InputError, match="slices of different sizes"):
        SliceDataset([{"image": name} for name in "ab"], read, tmp_path)


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [
        (volume(16, 16), labels(16, 16), "bad.nii.gz is 2-D"),
        (volume(16, 16, 1), labels(16, 16, 1), "bad.nii.gz has 1 slice"),
        (np.full((16, 16, 2), np.nan), labels(16, 16, 2), "bad.nii.gz has NaN"),
        (np.ones((16, 16, 2)), labels(16, 16, 2), "bad.nii.gz is constant"),
        (volume(16, 16, 2), labels(16, 15, 2), "bad_gt.nii.gz has shape 16 x 15 x 2"),
        (volume(16, 16, 2), labels(16, 16, 2) + 1, "bad_gt.nii.gz has the label values 4"),
    ],
    ids=["2-D", "one slice", "NaN", "constant", "other shape", "label value"],
)
@pytest.mark.parametrize("cached", [False, True])
def test_what_preprocessing_refuses_ends_in_its_message_alone(
    items: list[dict], write_volume: WriteVolume, tmp_path: Path, image: np.ndarray, label: np.ndarray, message: str, cached: bool
) -> None:  # fmt: skip
    bad = {"image": str(write_volume("bad.nii.gz", image)), "label": str(write_volume("bad_gt.nii.gz", label))}
    cache = tmp_path / "cache" if cached else None
    with pytest.raises(InputError, match=message) as caught:
        SliceDataset([*items, bad], TRANSFORM, cache_dir=cache)
    assert str(caught.value).startswith(str(tmp_path / message.split()[0]))
    assert cache is None or not list(cache.glob("*.pt"))


def test_a_truncated_file_is_refused(items: list[dict]) -> None:
    path = Path(items[1]["label"])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"1_gt\.nii\.gz cannot be read: .*copy or convert it again"):
        SliceDataset(items, TRANSFORM)


def test_any_other_failure_names_the_file_and_its_first_cause(items: list[dict]) -> None:
    def fail(item: dict) -> dict:
        try:
            raise OSError("the disk\n said no")
        except OSError as error:
            raise RuntimeError("applying transform") from error

    with pytest.raises(InputError, match=r"0\.nii\.gz \(or its label\) cannot be preprocessed: the disk said no\."):
        SliceDataset(items, fail)


def test_a_data_list_that_went_through_json_serves(phantom_dir: Path, tmp_path: Path) -> None:
    content = data_list(phantom_dir, labeled_patients=1)
    (tmp_path / "list.json").write_text(json.dumps(content))
    again = json.loads((tmp_path / "list.json").read_text(encoding="utf-8"))
    one, two = (SliceDataset(c["labeled"], TRANSFORM, phantom_dir) for c in (content, again))
    assert same(one, two)
