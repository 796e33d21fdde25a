"""Finished cells made up for the tests."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from scripts.experiments.cells import Cell, read_cell, read_cells

ACDC_CLASSES = ("background", "right ventricle cavity", "left ventricle myocardium", "left ventricle cavity")


def cell_content(arm: str = "Ours", percent: float = 10, seed: int = 0, score: float = 0.5, **changes: Any) -> dict:
    """The JSON of a cell: every class IoU is ``score``, the native scores are 0.1 higher."""
    class_iou = changes.pop("class_iou", dict.fromkeys(ACDC_CLASSES, score))

    def scores(by: float) -> dict[str, Any]:
        means = {"miou": score + by + 0.05, "foreground_miou": score + by, "mean_foreground_dice": score + by + 0.02}
        return means | {"class_iou": class_iou}

    name = f"{arm}-{percent:g}-seed{seed}".lower().replace("/", "").replace(" ", "_")
    content = {
        "cell": name,
        "grid": "small",
        "dataset": "ACDC",
        "arm": arm,
        "labeled_percent": percent,
        "seed": seed,
        "settings": {"filters": 16, "seed": seed, "labeled_fraction": percent / 100},
        "updates": 600,
        "seconds": 90.0,
        "commit": "0123456789abcdef",
        "device": "CPU",
        "threads": 1,
        "bundle_version": "0.2.0",
        "items": {"labeled": 12, "unlabeled": 108, "validation": 40},
        "background": True,
        "run_dir": f"small/{name}",
        "scores": {"native": scores(0.1), "training_size": scores(0)},
        "curve": [
            {"epoch": e, "update": 300 * e, "miou": score, "foreground_miou": score * e / 2, "mean_dice": score}
            for e in (1, 2)
        ],
    }
    return content | changes


@pytest.fixture
def write_cell(tmp_path: Path) -> Callable[..., Path]:
    """Write a made-up cell into ``tmp_path / "cells" / <grid>``; see ``cell_content``."""

    def write(*args: Any, file: str | None = None, **changes: Any) -> Path:
        content = cell_content(*args, **changes)
        path = tmp_path / "cells" / content["grid"] / (file or f"{content['dataset']}-{content['cell']}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def make_cells(write_cell: Callable[..., Path], tmp_path: Path) -> Callable[..., list[Cell]]:
    """Cells of ACDC at 10 % (Full at 100 %) by arm, a score a seed; further entries for all of them."""

    def make(scores: Mapping[str, tuple[float, ...]], **changes: Any) -> list[Cell]:
        paths = [
            write_cell(arm, 100 if arm == "Full" else 10, seed, score, **changes)
            for arm, values in scores.items()
            for seed, score in enumerate(values)
        ]
        return [read_cell(path) for path in paths]

    return make


@pytest.fixture
def small_grid(write_cell: Callable[..., Path], tmp_path: Path) -> Path:
    """The folder of a grid with three seeds, the ablation incomplete, and one cell of a second data set."""
    for seed in range(3):
        for arm, score in (("Full", 0.8), ("Partial", 0.5), ("Hung et al.", 0.45), ("Ours", 0.4)):
            write_cell(arm, 100 if arm == "Full" else 10, seed, score + seed**2 / 100)
    write_cell("w/o mask_cycle", 10, 0, 0.35)
    voc = {"background": 0.7, "aeroplane": None, "tvmonitor": 0.25}
    write_cell("Partial", 20, 0, 0.2, dataset="VOC", grid="photos", class_iou=voc)
    assert len(read_cells(tmp_path / "cells")) == 14
    return tmp_path / "cells"
