"""The command line: what it writes, how it ends, on small sets of every layout and on the real files."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imagesets import write_cityscapes, write_folder, write_voc, write_volume_folder
from PIL import Image
from running import ROOT, command_environment

from scripts.data import acdc, cityscapes, folder, voc

prepare = importlib.import_module("scripts.data.prepare.__main__")

REPORTS = {"report.md", "report.json"}
ALL = REPORTS | {"data_list.json", "samples.png"}

Run = Callable[..., tuple[int, set[str]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the command on ``dataset_dir``; its exit code and the names of what it wrote to ``tmp_path/out``."""

    def command(data_set: str, dataset_dir: Path, *options: str) -> tuple[int, set[str]]:
        out = tmp_path / "out"
        code = prepare.main(
            [data_set, "--dataset_dir", str(dataset_dir), "--output_dir", str(out), "--workers", "2", *options]
        )
        return code, {path.name for path in out.iterdir()} if out.exists() else set()

    return command


def read(tmp_path: Path, name: str) -> Any:
    return json.loads((tmp_path / "out" / name).read_text(encoding="utf-8"))


def test_acdc_list_is_written_and_read_back(run: Run, phantom_dir: Path, tmp_path: Path) -> None:
    assert run("acdc", phantom_dir, "--labeled_patients", "2", "--seed", "3", "--samples", "3") == (0, ALL)
    made = acdc.data_list(phantom_dir, labeled_patients=2, seed=3)
    assert read(tmp_path, "data_list.json") == made
    again = acdc.data_list(phantom_dir, split=tmp_path / "out" / "data_list.json")
    sections = ("labeled", "unlabeled", "validation", "test")
    assert {section: again[section] for section in sections} == {section: made[section] for section in sections}


@pytest.mark.parametrize(
    ("data_set", "write", "options", "data_list"),
    [
        ("voc", write_voc, ("--split", "official", "--labeled_images", "3"), voc.data_list),
        ("cityscapes", write_cityscapes, ("--split", "official", "--labeled_fraction", "0.5"), cityscapes.data_list),
        ("folder", write_folder, ("--labeled_fraction", "0.5", "--size", "32", "40"), folder.data_list),
        ("folder", write_volume_folder, ("--validation_fraction", "0.25"), folder.data_list),
    ],
)
def test_lists_of_every_layout_are_written_and_read_back(
    run: Run, tmp_path: Path, data_set: str, write: Callable, options: tuple[str, ...], data_list: Callable
) -> None:
    write(tmp_path / "data")
    assert run(data_set, tmp_path / "data", "--no_pictures", *options) == (0, ALL - {"samples.png"})
    written = read(tmp_path, "data_list.json")
    assert data_list(tmp_path / "data", split=tmp_path / "out" / "data_list.json") == written
    assert read(tmp_path, "report.json")["errors"] == 0


def test_options_of_a_folder_reach_its_list(run: Run, tmp_path: Path) -> None:
    write_folder(tmp_path / "data", classes=4)
    options = ("--num_classes", "3", "--void_values", "3", "--background", "false", "--image_channels", "1")
    assert run("folder", tmp_path / "data", "--no_pictures", *options)[0] == 0
    made = read(tmp_path, "data_list.json")
    assert (len(made["labels"]), made["background"], made["channels"]) == (3, False, 1)
    report = read(tmp_path, "report.json")
    assert report["void_values"] == [3]
    assert report["sections"]["labeled"]["pixels"]["void"] > 0


# How it ends


def test_errors_end_with_1_and_write_the_reports_only(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_voc(tmp_path / "data")
    mask = sorted((tmp_path / "data").rglob("SegmentationClassAug/*.png"))[0]
    Image.fromarray(np.full((40, 48), 77, np.uint8)).save(mask)
    assert run("voc", tmp_path / "data") == (1, REPORTS)
    printed = capsys.readouterr().out
    assert mask.name in printed
    assert "77" in printed
    assert mask.name in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    found = [trouble for trouble in read(tmp_path, "report.json")["trouble"] if trouble["severity"] == "error"]
    assert found
    assert all(file.endswith(mask.name) for trouble in found for file in trouble["files"])


def test_an_earlier_list_is_named_where_errors_forbid_a_new_one(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_folder(tmp_path / "data")
    run("folder", tmp_path / "data", "--no_pictures")
    first = next((tmp_path / "data" / "images").iterdir())
    with Image.open(first) as image:
        size = image.size
    Image.new("RGB", size, (9, 9, 9)).save(first)
    assert run("folder", tmp_path / "data", "--no_pictures")[0] == 1
    assert "earlier run" in capsys.readouterr().out


def test_warnings_end_with_0(run: Run, pictures: Any, tmp_path: Path) -> None:
    pictures.write("labels/nobody.png", pictures.stripes(0, 1, 2))
    (tmp_path / "list.json").write_text(json.dumps(pictures.data_list), encoding="utf-8")
    assert run("folder", pictures.root, "--data_list", str(tmp_path / "list.json")) == (0, ALL)
    report = read(tmp_path, "report.json")
    assert (report["errors"], report["warnings"]) == (0, 1)
    assert read(tmp_path, "data_list.json")["labeled"] == pictures.data_list["labeled"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--labeled_fraction", "2"), "(0, 1]"),
        (("--unlabeled_cine", "perhaps"), "true or false"),
        (("--workers", "0"), "--workers"),
        (("--samples", "0"), "--samples"),
        (("--data_list", "gone.json"), "gone.json"),
        (("--data_list", "gone.json", "--seed", "3"), "--seed"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_one_paragraph(
    run: Run, phantom_dir: Path, capsys: pytest.CaptureFixture, options: tuple[str, ...], words: str
) -> None:
    assert run("acdc", phantom_dir, *options) == (2, set())
    message = capsys.readouterr().err.strip()
    assert message.startswith("Error: ")
    assert words in message
    assert "\n" not in message


def test_a_list_without_class_names_is_refused(
    run: Run, pictures: Any, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    content = {key: value for key, value in pictures.data_list.items() if key != "labels"}
    (tmp_path / "list.json").write_text(json.dumps(content), encoding="utf-8")
    assert run("folder", pictures.root, "--data_list", str(tmp_path / "list.json"))[0] == 2
    assert "'labels'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["acdc"], ["brats", "--dataset_dir", "."], ["voc", "--labeled_patients", "3"]]
)
def test_wrong_command_lines_are_explained(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        prepare.main(arguments)
    assert end.value.code == 2
    assert "usage: python -m scripts.data.prepare" in capsys.readouterr().err


def test_other_errors_are_not_hidden(run: Run, phantom_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(prepare, "check_data_list", broken)
    with pytest.raises(ZeroDivisionError):
        run("acdc", phantom_dir)


def test_command_in_a_process_of_its_own(pictures: Any, tmp_path: Path) -> None:
    pictures.write("labels/a.png", pictures.stripes(0, 99))
    (tmp_path / "list.json").write_text(json.dumps(pictures.data_list), encoding="utf-8")
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "scripts.data.prepare",
        "folder",
        "--dataset_dir",
        str(pictures.root),
    ]
    command += ["--data_list", str(tmp_path / "list.json"), "--output_dir", str(tmp_path / "out")]
    environment = command_environment(PYTHONIOENCODING="utf-8")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 1, done.stderr
    assert "\x1b" not in done.stdout
    assert "labels/a.png" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == REPORTS


# Real data


@pytest.mark.parametrize(
    ("data_set", "place", "options", "counts"),
    [
        ("voc", "voc", ("--split", "official"), {"labeled": 80, "validation": 30}),
        ("cityscapes", "cityscapes", ("--split", "official"), {"labeled": 4, "validation": 1}),
        (
            "folder",
            "camvid",
            ("--num_classes", "11", "--void_values", "11", "--background", "false", "--labeled_fraction", "0.5"),
            {"labeled": 12, "unlabeled": 12, "validation": 8},
        ),
    ],
)
def test_real_sets_are_sound(
    run: Run, real_data: Path, tmp_path: Path, data_set: str, place: str, options: tuple, counts: dict[str, int]
) -> None:
    assert run(data_set, real_data / place, "--samples", "2", *options) == (0, ALL)
    report = read(tmp_path, "report.json")
    assert {section: numbers["items"] for section, numbers in report["sections"].items()} == counts
    assert os.path.getsize(tmp_path / "out" / "samples.png") > 10_000
    assert [t for t in report["trouble"] if t["severity"] == "error"] == []
    shares = report["sections"]["validation"]["pixels"]
    assert sum(shares.values()) == pytest.approx(1)
    assert 0 < shares["void"] < 0.1
