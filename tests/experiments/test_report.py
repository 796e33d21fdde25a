"""The whole report from a folder of cells."""

import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from scripts.errors import InputError
from scripts.experiments.report import write_report


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [str(value) for name, value in attrs if name in ("src", "href")]


def test_everything_is_written_and_printed(
    small_grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    written = write_report(small_grid, out)
    names = {path.relative_to(out).as_posix() for path in written}
    assert names == {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    tables = {
        f"{name}.{kind}" for name in ("table_1", "table_2", "table_3", "table_classes_acdc") for kind in ("md", "csv")
    }
    assert tables | {"comparisons.md", "comparisons.csv", "report.md", "report.html"} == {
        n for n in names if "/" not in n
    }
    figures = ("curves_acdc_10", "curves_voc_20", "fractions_acdc", "fractions_voc", "ablation_acdc_10")
    assert {f"figures/{name}.{kind}" for name in figures for kind in ("svg", "png")} == {n for n in names if "/" in n}
    printed = capsys.readouterr().out
    assert "## Table 1: arms and label fractions" in printed
    assert "Ours minus Partial, 10 %" in printed

    frame = pd.read_csv(out / "table_1.csv")
    assert list(frame.columns) == ["dataset", "grid", "arm", "percent", "metric", "size", "mean", "sd", "n", "paper"]
    ours = frame[(frame["arm"] == "Ours") & (frame["metric"] == "foreground_miou") & (frame["size"] == "training_size")]
    assert ours["mean"].item() == pytest.approx(0.416667)
    assert ours["sd"].item() == pytest.approx(0.0208167)
    assert ours["paper"].item() == 0.8463

    html = (out / "report.html").read_text(encoding="utf-8")
    links = Links(html).found
    assert links
    assert all(link.startswith(("#", "data:image/svg+xml;base64,")) for link in links)
    markdown = (out / "report.md").read_text(encoding="utf-8")
    for text in (
        "ACDC: w/o mask_cycle, 10 %: seed 1, 2",
        "Left out: no folder of runs was given.",
        "Common to all cells: filters 16",
        "ours-10-seed2",
    ):
        assert text in html
        assert text in markdown
    assert "0.35 hours in all." in html  # 14 cells of 90 s


def test_equal_cells_in_other_files_give_equal_bytes(small_grid: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for place, path in enumerate(sorted(small_grid.rglob("*.json"), reverse=True)):
        target = other / f"deep{place % 3}" / f"{place:02}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    first, second = (write_report(folder, tmp_path / name) for folder, name in ((small_grid, "a"), (other, "b")))
    assert len(first) == len(second) > 10
    for a, b in zip(first, second, strict=True):
        assert a.relative_to(tmp_path / "a") == b.relative_to(tmp_path / "b")
        assert a.read_bytes() == b.read_bytes(), a.name


def test_predictions_are_on_the_page(
    write_cell: Callable[..., Path], finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished_run, tmp_path / "runs" / "ours")
    write_cell("Ours", run_dir="ours")
    write_cell("Partial", run_dir="gone")
    write_cell("Partial", 20, run_dir="gone")
    out = tmp_path / "report"
    written = write_report(tmp_path / "cells", out, runs_dir=tmp_path / "runs")
    assert out / "figures" / "examples_acdc_10.png" in written
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "![Predictions, ACDC, 10 % labelled, seed 0](figures/examples_acdc_10.png)" in text
    assert "No run folder of Full, Partial, Hung et al." in text
    assert "- ACDC, 20 % labelled: left out, no folder of these runs is below" in text
    assert "licence may forbid" in text


def test_one_cell_is_enough(write_cell: Callable[..., Path], tmp_path: Path) -> None:
    write_cell("Full", 100, dataset="tissue: <own>", curve=[])
    out = tmp_path / "report"
    write_report(tmp_path / "cells", out)
    assert not (out / "comparisons.md").exists()
    assert "tissue: &lt;own&gt;" in (out / "report.html").read_text(encoding="utf-8")
    assert (out / "table_classes_tissue___own_.csv").is_file()


def test_no_cell_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished cell"):
        write_report(tmp_path, tmp_path / "report")


def test_a_broken_cell_stops_the_report(small_grid: Path, tmp_path: Path) -> None:
    (small_grid / "broken.json").write_text(json.dumps({"cell": "x"}))
    with pytest.raises(InputError, match=r"broken\.json is no cell: expected an entry for each of grid, dataset"):
        write_report(small_grid, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_an_output_folder_that_cannot_be_written_is_refused(small_grid: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(small_grid, tmp_path / "file" / "report")
