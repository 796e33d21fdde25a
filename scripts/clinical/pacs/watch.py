"""A folder that is watched: each study that is dropped into it is reported once, whatever happens in between.

    DIR/NAME              a study: a folder, or a NIfTI file; names that begin with _ or . are none
    DIR/_working/000007/  the one being worked on, as ``study``
    DIR/_done/000007/     reported
    DIR/_failed/000007/   not reported or not stored, with reason.txt
    DIR/_journal.jsonl    what happened when, by number
    OUT/000007/           its report

Each step is one renaming, so after a sudden end the folders say how far a study has come: what is in ``_working`` is taken
up first, and a report that is there is not made again. Nothing that is written shows a study's name, only its number.
"""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from scripts.clinical.pacs.journal import Journal
from scripts.errors import InputError
from scripts.files import write_atomically

logger = logging.getLogger(__name__)
WORKING, DONE, FAILED, JOURNAL, LOCK, REASON = "_working", "_done", "_failed", "_journal.jsonl", "_lock", "reason.txt"
Content = tuple[int, int, int]


@dataclass
class Watch:
    """One folder, one process.

    Args:
        folder: where studies are dropped.
        output_dir: where reports go, each in a folder with the study's number; of this watch alone.
        report: makes the report of a study (first argument) in a folder (second) that it moves into place whole; its exit
            code, or an ``InputError``.
        store: stores the report in a folder, or None.
        readable: raises an ``InputError`` if a study is not (yet) complete.
        quiet_s: a study in which nothing changed for so long is looked at.
        give_up_s: one that is quiet for so long and still not readable has failed.
        poll_s: between two looks.
        attempts: a study at which the process ended so often has failed.
    """

    folder: Path
    output_dir: Path
    report: Callable[[Path, Path], int]
    store: Callable[[Path], object] | None = None
    readable: Callable[[Path], object] = lambda study: None
    quiet_s: float = 30.0
    give_up_s: float = 300.0
    poll_s: float = 2.0
    attempts: int = 5
    _seen: dict[str, tuple[Content, float, bool]] = field(default_factory=dict, init=False, repr=False)

    def run(self, until_empty: bool = False) -> int:
        """Handle studies as they come; with ``until_empty`` end when none is left. How many failed.

        Raises:
            InputError: a folder that cannot be used, or that another process watches.
        """
        self._prepare()
        try:
            with FileLock(self.folder / LOCK, timeout=0):
                return self._loop(until_empty)
        except Timeout:
            raise InputError("the folder is being watched by another process: end that one first.") from None
        except OSError as error:
            raise InputError(
                f"a folder of the watch cannot be used: {error.strerror or type(error).__name__}. Expected --watch with "
                "room and permission to write and rename; nothing is lost, start again when that is so."
            ) from None  # the error names a study's path

    def _prepare(self) -> None:
        folder, output_dir = self.folder.resolve(), self.output_dir.resolve()
        if not folder.is_dir():
            raise InputError("--watch is expected to be a folder that exists: make it first.")
        if output_dir.is_relative_to(folder) or folder.is_relative_to(output_dir):
            raise InputError("--watch and --output_dir must lie apart, or reports would be taken for studies.")
        try:
            for name in (WORKING, DONE, FAILED):
                (folder / name).mkdir(exist_ok=True)
            output_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"a folder of the watch cannot be made: {error.strerror}. Change its permissions."
            ) from None

    def _loop(self, until_empty: bool) -> int:
        self.journal = Journal(self.folder / JOURNAL)
        for partial in self.output_dir.glob(".report.*.partial"):
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        for place in sorted((self.folder / WORKING).glob("[0-9]*")):
            self._handle(place)
        failed = 0
        while True:
            study = self._next()
            if study is not None:
                failed += not self._handle(self._claim(study))
            elif until_empty and not self._seen:
                return failed
            else:
                time.sleep(self.poll_s)

    def _next(self) -> Path | None:
        """The next study that is ready to be handled, or has failed to become so; the others are remembered."""
        now = time.monotonic()
        studies = {p.name: p for p in sorted(self.folder.iterdir()) if not p.name.startswith(("_", "."))}
        self._seen = {name: seen for name, seen in self._seen.items() if name in studies}
        for name, study in studies.items():
            content = _content(study)
            before, since, looked = self._seen.get(name, (None, now, False))
            if content != before:
                since, looked = now, False
            quiet = now - since
            if quiet >= self.give_up_s or (quiet >= self.quiet_s and not looked and self._is_readable(study)):
                self._seen.pop(name, None)
                return study
            self._seen[name] = (content, since, quiet >= self.quiet_s)
        return None

    def _is_readable(self, study: Path) -> bool:
        try:
            self.readable(study)
        except InputError:
            return False
        return True

    def _claim(self, study: Path) -> Path:
        """Move a study to where it is worked on; from then on it has a number."""
        used = [
            int(p.name) for name in (WORKING, DONE, FAILED) for p in (self.folder / name).iterdir() if p.name.isdigit()
        ]
        used += [int(p.name) for p in self.output_dir.iterdir() if p.name.isdigit()]
        number = max([self.journal.last_number(), *used]) + 1
        place = self.folder / WORKING / f"{number:06d}"
        place.mkdir()
        suffix = "".join(s for s in (".nii", ".gz") if s in study.name.lower()) if study.is_file() else ""
        study.rename(place / f"study{suffix}")
        self.journal.write(number, "claimed")
        return place

    def _handle(self, place: Path) -> bool:
        """Report, store and put away the study in ``place``; whether that went well."""
        study = next(place.glob("study*"), None)
        if study is None:  # killed between making the folder and moving the study into it
            shutil.rmtree(place)
            return True
        number = int(place.name)
        try:
            self._report(number, study)
        except Exception as error:  # one bad study must not stop the watch; what is no InputError may quote a patient
            reason = str(error) if isinstance(error, InputError) else f"an unforeseen {type(error).__name__}"
            self._set_aside(place, number, reason)
            return False
        place.rename(self.folder / DONE / place.name)
        self.journal.write(number, "done")
        logger.info("study %d done", number)
        return True

    def _report(self, number: int, study: Path) -> None:
        out = self.output_dir / f"{number:06d}"
        if not out.exists():
            if self.journal.count(number, "begun") >= self.attempts:
                raise InputError(f"the process ended {self.attempts} times while it worked on this study (memory?).")
            self.journal.write(number, "begun")
            self.journal.write(number, "reported", exit_code=self.report(study, out))
        if self.store is not None:
            self.store(out)
            self.journal.write(number, "stored")

    def _set_aside(self, place: Path, number: int, reason: str) -> None:
        write_atomically(place / REASON, lambda path: path.write_text(reason + "\n", encoding="utf-8"))
        place.rename(self.folder / FAILED / place.name)
        self.journal.write(number, "failed", reason=reason)
        logger.warning("study %d failed and was set aside: %s", number, reason)


def _content(study: Path) -> Content:
    """Number of files, their bytes and the latest change (ns), by which growth is seen."""
    files = [study] if study.is_file() else [path for path in study.rglob("*") if path.is_file()]
    states = []
    for path in files:
        try:
            states.append(path.stat())
        except FileNotFoundError:  # renamed by who is writing it: the next look will differ
            continue
    return len(states), sum(s.st_size for s in states), max((s.st_mtime_ns for s in states), default=0)
