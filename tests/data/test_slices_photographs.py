"""Photographs among the slices: kept in 8 bits, normalised when drawn, decoded once."""

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from imagesets import colored, shapes, write_folder, write_image, write_mask

from scripts.data import image_grid
from scripts.data.image_grid import ImageGrid, resize_image, resize_mask
from scripts.data.slices import ITEMS_A_PROCESS, SliceDataset
from scripts.data.unpaired import UnpairedBatches
from scripts.errors import InputError

CLASSES = 3
GRID = ImageGrid((24, 32))


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, str]]:
    """Six pairs of 40 x 48 pixels, labels 0 to 2."""
    folder = write_folder(tmp_path / "data", labeled=6, unlabeled=0, classes=CLASSES)
    names = [f"scene {number:02d}.png" for number in range(6)]
    return [{"image": str(folder / "images" / name), "label": str(folder / "labels" / name)} for name in names]


def dataset(items: list[dict], grid: ImageGrid = GRID, label_map: dict | None = None, **options) -> SliceDataset:
    """As ``train.json`` makes it."""
    preprocessing = grid.preprocessing(("image", "label"), CLASSES, label_map)
    key = {"grid": repr(grid), "num_classes": CLASSES, "label_map": label_map}
    return SliceDataset(items, preprocessing, cache_key=key, **options)


def same(one: SliceDataset, two: SliceDataset) -> bool:
    names = ("images", "labels", "cases")
    return all(torch.equal(getattr(one, name), getattr(two, name)) for name in names)


class Decoding:
    """Counts the images and masks that are decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for name in ("read_image", "read_mask"):
            monkeypatch.setattr(image_grid, name, self._counted(getattr(image_grid, name)))

    def _counted(self, read):
        def counted(*arguments, **options):
            self.count += 1
            return read(*arguments, **options)

        return counted


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> Decoding:
    return Decoding(monkeypatch)


# Values


def test_eight_bits_are_kept_and_normalised_when_drawn(items: list[dict]) -> None:
    slices = dataset(items)
    assert slices.images.dtype == slices.labels.dtype == torch.uint8
    assert (slices.images.shape, slices.labels.shape) == ((6, 3, 24, 32), (6, 24, 32))
    taken = slices.take([4, 1, 4])
    assert {key: (value.dtype, tuple(value.shape)) for key, value in taken.items()} == {
        "image": (torch.float32, (3, 3, 24, 32)),
        "label": (torch.int64, (3, 24, 32)),
        "case": (torch.int64, (3,)),
    }
    assert taken["case"].tolist() == [4, 1, 4]
    for place, index in enumerate([4, 1, 4]):
        pixels = slices.images[index].numpy().astype(np.float64)
        for channel in range(3):
            x = pixels[channel]
            expected = (x - x.mean()) / (x.max() - x.min())
            np.testing.assert_allclose(taken["image"][place, channel].numpy(), expected, atol=1e-6)
    assert slices.images.dtype == torch.uint8, "still, after it was drawn from"


def test_slices_are_the_files_resized(items: list[dict]) -> None:
    slices = dataset(items)
    for index, item in enumerate(items):
        read = GRID.preprocessing(("image", "label"), CLASSES).read(item)
        assert torch.equal(slices.images[index], resize_image(read["image"], GRID.size))
        assert torch.equal(slices.labels[index], resize_mask(read["label"], GRID.size)[0])
    assert slices.files == [item["image"] for item in items]


def test_one_slice_is_as_many_drawn(items: list[dict]) -> None:
    slices = dataset(items)
    one, several = slices[2], slices.take([2])
    assert all(torch.equal(one[key], several[key][0]) for key in ("image", "label", "case"))


def test_a_channel_that_is_flat_is_zero(tmp_path: Path) -> None:
    pixels = colored(shapes((24, 32), (1,), np.random.default_rng(0)), np.random.default_rng(0))
    pixels[..., 1] = 77
    path = write_image(tmp_path / "flat green.png", pixels)
    image = dataset([{"image": str(path)}])[0]["image"]
    assert torch.isfinite(image).all()
    assert image[1].unique().tolist() == [0]
    assert image[0].amax() - image[0].amin() == pytest.approx(1)


def test_void_stays_void(items: list[dict]) -> None:
    mask = np.zeros((40, 48), np.uint8)
    mask[:20] = 255
    write_mask(Path(items[0]["label"]), mask)
    label = dataset(items)[0]["label"]
    assert label[:12].unique().tolist() == [255]
    assert label[12:].unique().tolist() == [0]


def test_photographs_of_any_size_make_slices_of_one(items: list[dict], tmp_path: Path) -> None:
    wide = write_folder(tmp_path / "wide", labeled=1, unlabeled=0, size=(20, 90))
    mixed = [*items, {key: str(wide / f"{key}s" / "scene 00.png") for key in ("image", "label")}]
    assert dataset(mixed).images.shape == (7, 3, 24, 32)


# The cache


def test_files_are_decoded_once(items: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    first = dataset(items, cache_dir=cache)
    (path,) = cache.glob("*.pt")
    assert path.suffix == ".pt"
    written = path.stat().st_mtime_ns

    def fail(*arguments: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(image_grid, "read_image", fail)
    monkeypatch.setattr(image_grid, "read_mask", fail)
    second = dataset(items, cache_dir=cache)
    assert same(first, second)
    assert second.images.dtype == torch.uint8
    assert [entry.name for entry in cache.glob("*.pt")] == [path.name]
    assert path.stat().st_mtime_ns == written


def test_the_cache_is_eight_bits_a_pixel(items: list[dict], tmp_path: Path) -> None:
    dataset(items, cache_dir=tmp_path / "cache")
    (path,) = (tmp_path / "cache").glob("*.pt")
    pixels = 6 * 24 * 32 * (3 + 1)
    assert pixels <= path.stat().st_size <= pixels + 4096


def test_the_cache_is_mapped_into_memory(items: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset(items, cache_dir=tmp_path / "cache")
    asked: list[dict] = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda path, **options: asked.append(options) or load(path, **options))
    slices = dataset(items, cache_dir=tmp_path / "cache")
    assert asked == [{"weights_only": True, "mmap": True}]
    maps = Path("/proc/self/maps")
    if maps.is_file():
        (path,) = (tmp_path / "cache").glob("*.pt")
        start, end = next(
            (int(part, 16) for part in line.split()[0].split("-"))
            for line in maps.read_text(encoding="utf-8").splitlines()
            if line.endswith(path.name)
        )
        assert start <= slices.images.data_ptr() < end, "no copy was made on the way"


@pytest.mark.parametrize("change", ["label's content", "image's content", "time", "size", "channels", "label_map"])
def test_what_the_slices_depend_on_is_another_cache(
    items: list[dict], tmp_path: Path, decoding: Decoding, change: str
) -> None:
    cache = tmp_path / "cache"
    first = dataset(items, cache_dir=cache)
    assert decoding.count == 12
    options = {}
    if change == "label's content":
        write_mask(Path(items[3]["label"]), np.arange(40 * 48).reshape(40, 48) % CLASSES)
    elif change == "image's content":
        write_image(Path(items[3]["image"]), np.random.default_rng(0).integers(0, 255, (40, 48, 3)).astype(np.uint8))
    elif change == "time":
        when = os.stat(items[3]["label"]).st_mtime_ns + 10**9
        os.utime(items[3]["label"], ns=(when, when))
    elif change == "label_map":
        options = {"label_map": {"0": 0, "1": 2}}
    else:
        options = {"grid": ImageGrid((32, 32)) if change == "size" else ImageGrid((24, 32), 1)}
    second = dataset(items, cache_dir=cache, **options)
    assert decoding.count == 24
    assert len(list(cache.glob("*.pt"))) == 2
    assert (change == "time") == same(first, second)


def test_the_cache_of_old_settings_serves_again(items: list[dict], tmp_path: Path, decoding: Decoding) -> None:
    first = dataset(items, cache_dir=tmp_path / "cache")
    dataset(items, ImageGrid((32, 32)), cache_dir=tmp_path / "cache")
    assert same(first, dataset(items, cache_dir=tmp_path / "cache"))
    assert decoding.count == 24


def test_a_half_written_cache_is_made_anew(
    items: list[dict], tmp_path: Path, decoding: Decoding, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache"
    first = dataset(items, cache_dir=cache)
    (path,) = cache.glob("*.pt")
    whole = path.read_bytes()
    (cache / f".{path.name}.4711.partial").write_bytes(whole[: len(whole) // 2])
    path.unlink()
    assert same(first, dataset(items, cache_dir=cache)), "of a run that was killed while it wrote"
    path.write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING):
        assert same(first, dataset(items, cache_dir=cache)), "of a copy that was broken off"
    assert f"{path} is broken" in caplog.text
    assert decoding.count == 36
    assert same(first, dataset(items, cache_dir=cache))
    assert decoding.count == 36


# Processes


@pytest.mark.parametrize("cached", [False, True])
def test_processes_change_nothing(tmp_path: Path, cached: bool) -> None:
    """Files come in the list's order, whichever is decoded first."""
    items = photographs(tmp_path / "data", 2 * ITEMS_A_PROCESS)
    seen = tmp_path / "processes"
    seen.mkdir()

    def preprocess(item: dict) -> dict:
        if item["image"] == items[0]["image"]:
            time.sleep(0.5)
        (seen / str(os.getpid())).touch()
        return GRID.preprocessing(("image", "label"), CLASSES)(item)

    options = {"cache_dir": tmp_path / "cache"} if cached else {}
    parallel = SliceDataset(items, preprocess, processes=2, **options)
    assert len(list(seen.iterdir())) == 2
    expected = SliceDataset(items, GRID.preprocessing(("image", "label"), CLASSES))
    assert same(parallel, expected)
    assert parallel.files == expected.files


@pytest.mark.parametrize("processes", [1, 2])
def test_one_broken_file_of_many_is_named_and_the_rest_is_left(tmp_path: Path, processes: int) -> None:
    items = photographs(tmp_path / "data", 80)
    broken = Path(items[5]["label"])
    broken.write_bytes(broken.read_bytes()[:40])
    done = tmp_path / "done"
    done.mkdir()

    def preprocess(item: dict) -> dict:
        preprocessed = GRID.preprocessing(("image", "label"), CLASSES)(item)
        time.sleep(0.02)
        (done / Path(item["image"]).name).touch()
        return preprocessed

    cache = tmp_path / "cache"
    with pytest.raises(InputError, match=r"labels/scene 05\.png cannot be read as an image"):
        SliceDataset(items, preprocess, cache_dir=cache, processes=processes)
    assert len(list(done.iterdir())) < 40
    assert not list(cache.glob("*.pt"))


def test_of_two_runs_that_start_together_one_preprocesses(tmp_path: Path) -> None:
    items = photographs(tmp_path / "data", 3)
    done: list[str] = []

    def preprocess(item: dict) -> dict:
        done.append(item["image"])
        time.sleep(0.2)
        return GRID.preprocessing(("image", "label"), CLASSES)(item)

    with ThreadPoolExecutor(2) as pool:
        starts = [pool.submit(SliceDataset, items, preprocess, cache_dir=tmp_path / "cache") for _ in range(2)]
    assert len(done) == len(items)
    assert same(*(start.result() for start in starts))


def photographs(folder: Path, count: int) -> list[dict]:
    """Items of ``count`` labelled photographs, written into ``folder``."""
    folder = write_folder(folder, labeled=count, unlabeled=0, size=(8, 8))
    names = [f"scene {number:02d}.png" for number in range(count)]
    return [{"image": str(folder / "images" / name), "label": str(folder / "labels" / name)} for name in names]


# Void as a class


def test_void_is_trained_as_a_class_where_that_is_asked_for(items: list[dict]) -> None:
    mask = shapes((40, 48), (1, 2, 255), np.random.default_rng(0))
    for item in items:
        write_mask(Path(item["label"]), mask)
    slices = dataset(items)
    plain, classed = (
        UnpairedBatches(slices, None, batch_size=4, unlabeled_needed=False, void_class=void) for void in (None, 3)
    )
    for position in range(3):
        one, two = plain.batch(position), classed.batch(position)
        assert one["label"].unique().tolist() == [0, 1, 2, 255]
        assert two["label"].unique().tolist() == [0, 1, 2, 3]
        assert two["label"].dtype == torch.int64
        assert torch.equal(two["label"] == 3, one["label"] == 255)
        assert torch.equal(two["label"][two["label"] < 3], one["label"][one["label"] < 255])
        assert torch.equal(one["image"], two["image"])
    assert slices[0]["label"].max() == 255, "what is kept is left as it is"


def test_class_zero_may_stand_for_void(items: list[dict]) -> None:
    write_mask(Path(items[0]["label"]), np.full((40, 48), 255))
    batches = UnpairedBatches(dataset(items[:1]), None, batch_size=1, unlabeled_needed=False, void_class=0)
    assert batches.batch(0)["label"].unique().tolist() == [0]
