"""A page printed to PDF by the Chromium or Chrome on PATH."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from scripts.errors import InputError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TIMEOUT_S = 120
OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pdf-header-footer",  # they would show the path of the page; the next is the same for older versions
    "--print-to-pdf-no-header",
)


def find_browser() -> str:
    """The first of ``BROWSERS`` on PATH; worth asking before the work begins.

    Raises:
        InputError: there is none.
    """
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise InputError(
            f"a PDF is printed by a browser, and none of {', '.join(BROWSERS)} was found on PATH: install one (Debian: "
            "apt-get install chromium), or leave the PDF out and print report.html."
        )
    return found


def print_page(page: Path, pdf: Path) -> None:
    """Print the HTML file ``page`` to ``pdf``, without network, profile or traces elsewhere.

    Raises:
        InputError: no browser, or it fails or does not end in time. Its own words are kept out, since they name paths.
    """
    browser = find_browser()
    # Chromium's sandbox refuses to run as root; the page is ours and may load nothing.
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="report-print-", ignore_cleanup_errors=True) as profile:
        command = [browser, *OPTIONS, *sandbox, f"--user-data-dir={profile}", f"--print-to-pdf={pdf.resolve()}"]
        try:
            done = subprocess.run([*command, page.resolve().as_uri()], capture_output=True, timeout=TIMEOUT_S)
            ended = f"ended with code {done.returncode}"
        except subprocess.TimeoutExpired:
            ended = f"did not end within {TIMEOUT_S} s"
        except OSError as error:
            ended = f"could not be started ({error.strerror or type(error).__name__})"
    if not pdf.is_file() or pdf.read_bytes()[:5] != b"%PDF-":
        raise InputError(
            f"{Path(browser).name} was to print the report as PDF, but it {ended} and wrote none: try another version of "
            "it, or leave the PDF out and print report.html."
        )
