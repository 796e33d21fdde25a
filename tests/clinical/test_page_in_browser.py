"""The report in headless Chromium: no console error, its contours and its curve are seen, and it prints."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from phantom_report import phantom_findings
from PIL import Image

from scripts.clinical.page_print import find_browser, print_page
from scripts.clinical.report import report_content
from scripts.clinical.report_page import html
from scripts.clinical.report_pictures import STRUCTURE_COLORS
from scripts.errors import InputError

WIDTH, HEIGHT = 1100, 2600


@pytest.fixture(scope="module")
def browser() -> str:
    try:
        return find_browser()
    except InputError as error:
        pytest.fail(str(error)) if os.environ.get("CI") else pytest.skip(f"no Chromium: {error}")


@pytest.fixture(scope="module")
def page() -> str:
    findings = phantom_findings()
    return html(report_content(findings) | {"files": {"segmentation.nii.gz": "5e" * 32}}, findings)


def look(browser: str, page: str, folder: Path) -> tuple[np.ndarray, str]:
    """A screenshot (rows, columns, 3) of a page, and what the browser's console said."""
    folder.mkdir()
    (folder / "page.html").write_text(page, encoding="utf-8")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    options = ["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"]
    options += ["--enable-logging=stderr", f"--window-size={WIDTH},{HEIGHT}", f"--user-data-dir={folder / 'profile'}"]
    command = [browser, *options, *sandbox, f"--screenshot={folder / 'page.png'}", (folder / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    shutil.rmtree(folder / "profile", ignore_errors=True)
    with Image.open(folder / "page.png") as picture:
        return np.asarray(picture.convert("RGB")), console


def pixels_of(picture: np.ndarray, color: str) -> int:
    """How many pixels have about a colour, ``#rrggbb``."""
    wanted = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)])
    return int((np.abs(picture.astype(int) - wanted).max(2) < 24).sum())


def test_contours_and_curve_are_seen_and_the_console_is_silent(browser: str, page: str, tmp_path: Path) -> None:
    whole, console = look(browser, page, tmp_path / "whole")
    assert console == ""
    without_contours, _ = look(browser, re.sub(r'<path class="contour[^>]*>', "", page), tmp_path / "contours")
    without_curve, _ = look(browser, re.sub(r"<(polyline|circle|rect)[^>]*>", "", page), tmp_path / "curve")
    for name, color in STRUCTURE_COLORS.items():
        assert pixels_of(whole, color) > pixels_of(without_contours, color) + 100, f"contours of {name}"
    for name in ("lv", "rv"):
        assert pixels_of(whole, STRUCTURE_COLORS[name]) > pixels_of(without_curve, STRUCTURE_COLORS[name]) + 100, name


def test_an_error_in_the_console_would_be_found(browser: str, page: str, tmp_path: Path) -> None:
    broken = page.replace('document.getElementById("sheet")', 'document.getElementById("shet")')
    assert "CONSOLE" in look(browser, broken, tmp_path / "broken")[1]


def test_the_page_prints(browser: str, page: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    print_page(tmp_path / "page.html", tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").stat().st_size > 20_000
