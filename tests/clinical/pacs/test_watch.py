"""A watched folder: each study once, whatever kills the process; failures aside, with their reason and without a name."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from running import ROOT, command_environment

from scripts.clinical.__main__ import main
from scripts.clinical.pacs.journal import Journal
from scripts.clinical.pacs.watch import Watch
from scripts.data.dicom_phantom import PLANTED
from scripts.errors import InputError

KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from scripts.clinical.pacs.watch import Watch
from scripts.errors import InputError

def report(study, out):
    what = (study / "image").read_text()
    time.sleep(0.02)
    if what.startswith("bad"):
        raise InputError(f"{what} is no heart.")
    partial = out.with_name(f".report.{os.getpid()}.partial")
    partial.mkdir()
    (partial / "report.json").write_text(what)
    time.sleep(0.02)
    partial.rename(out)
    return 0

def store(out):
    time.sleep(0.01)
    with open(sys.argv[3], "a") as file:
        file.write((out / "report.json").read_text() + "\\n")

chance = random.Random(0)
for kills in range(int(sys.argv[4]) + 1):
    child = os.fork()  # imports are done: each child works from its first moment
    if child == 0:
        options = {"quiet_s": 0.0, "poll_s": 0.01, "attempts": 1000}
        Watch(Path(sys.argv[1]), Path(sys.argv[2]), report, store, **options).run(until_empty=True)
        os._exit(0)
    if kills < int(sys.argv[4]):
        time.sleep(chance.uniform(0.0, 0.12))
        os.kill(child, signal.SIGKILL)
    print(os.waitpid(child, 0)[1])
"""
KILLS = 20


def drop(folder: Path, name: str, content: str) -> None:
    (folder / f"_{name}").mkdir()
    (folder / f"_{name}" / "image").write_text(content)
    (folder / f"_{name}").rename(folder / name)


def test_twenty_studies_and_a_process_killed_at_random(tmp_path: Path) -> None:
    """Every third is bad. Whatever is killed when, each is reported once or set aside once."""
    incoming, out, stored = tmp_path / "in", tmp_path / "out", tmp_path / "stored.txt"
    incoming.mkdir()
    expected = [f"{'bad' if number % 3 == 0 else 'good'}{number}" for number in range(20)]
    for content in expected:
        drop(incoming, f"Plantedsurname {content}", content)
    command = [sys.executable, "-c", KILLED, *map(str, (incoming, out, stored, KILLS))]
    done = subprocess.run(command, cwd=ROOT, env=command_environment(), capture_output=True, text=True, timeout=60)
    states = done.stdout.split()
    assert states.count("9") >= 10, "it was killed in the midst of its work, so often"
    assert states[-1] == "0", done.stderr
    good, bad = ([content for content in expected if content.startswith(kind)] for kind in ("good", "bad"))
    assert sorted(path.read_text() for path in (incoming / "_done").glob("*/study/image")) == sorted(good)
    assert sorted(path.read_text() for path in (incoming / "_failed").glob("*/study/image")) == sorted(bad)
    assert sorted(path.read_text() for path in out.glob("*/report.json")) == sorted(good)
    assert set(stored.read_text().split()) == set(good), "none is left unstored (twice does no harm)"
    for reason in (incoming / "_failed").glob("*/reason.txt"):
        assert reason.read_text() == f"{(reason.parent / 'study' / 'image').read_text()} is no heart.\n"
    assert sorted(path.name for path in out.iterdir()) == sorted(
        p.parent.parent.name for p in (incoming / "_done").glob("*/*/image")
    )
    assert list((incoming / "_working").iterdir()) == []
    numbers = [entry["study"] for entry in Journal(incoming / "_journal.jsonl").entries if entry["event"] == "reported"]
    assert len(numbers) == len(set(numbers)), "no report was made twice"
    assert "Planted" not in (incoming / "_journal.jsonl").read_text()


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def watch_of(incoming: Path, report=lambda study, out: out.mkdir() or 0, **options) -> Watch:
    return Watch(incoming, incoming.parent / "out", report, **{"quiet_s": 0.0, "poll_s": 0.01, **options})


def test_a_study_that_grows_is_waited_for(incoming: Path) -> None:
    drop(incoming, "study", "first")
    looks = []

    def readable(study: Path) -> None:
        looks.append(len(list(study.iterdir())))
        if looks[-1] < 2:
            (study / "second").write_text("arrives late")
            raise InputError("a slice is missing.")

    assert watch_of(incoming, readable=readable, quiet_s=0.05, give_up_s=10).run(until_empty=True) == 0
    assert looks == [1, 2]
    assert (incoming / "_done" / "000001" / "study" / "second").is_file()


def test_one_that_stays_incomplete_is_reported_anyway_so_that_its_error_is_told(incoming: Path) -> None:
    drop(incoming, "study", "x")

    def refuse(study: Path, out: Path = Path()) -> int:
        raise InputError("a slice is missing.")

    assert watch_of(incoming, refuse, readable=refuse, give_up_s=0.1).run(until_empty=True) == 1
    assert (incoming / "_failed" / "000001" / "reason.txt").read_text() == "a slice is missing.\n"


def test_a_study_that_ends_the_process_again_and_again_is_set_aside(incoming: Path) -> None:
    drop(incoming, "study", "x")

    def end(study: Path, out: Path) -> int:
        raise SystemExit(9)

    for _ in range(2):
        with pytest.raises(SystemExit):
            watch_of(incoming, end, attempts=2).run(until_empty=True)
    watch_of(incoming, end, attempts=2).run(until_empty=True)
    assert "ended 2 times" in (incoming / "_failed" / "000001" / "reason.txt").read_text()


def test_an_unforeseen_error_is_not_quoted(incoming: Path) -> None:
    drop(incoming, "study", "x")

    def fail(study: Path, out: Path) -> int:
        raise RuntimeError("Plantedsurname")

    watch_of(incoming, fail).run(until_empty=True)
    assert (incoming / "_failed" / "000001" / "reason.txt").read_text() == "an unforeseen RuntimeError\n"


def test_a_torn_journal_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    Journal(path).write(1, "begun")
    with path.open("a") as file:
        file.write('{"study": 2, "ev')
    Journal(path).write(3, "begun")
    assert [entry["study"] for entry in Journal(path).entries] == [1, 3]


def test_what_cannot_be_watched(incoming: Path) -> None:
    with pytest.raises(InputError, match="a folder that exists"):
        watch_of(incoming / "none").run()
    with pytest.raises(InputError, match="must lie apart"):
        Watch(incoming, incoming / "out", lambda study, out: 0).run()
    with FileLock(incoming / "_lock"), pytest.raises(InputError, match="by another process"):
        watch_of(incoming).run()


def test_real_studies_with_the_command(
    dicom_phantom: Path, finished_run: Path, incoming: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One whole, one without its short axis; named after the patient, as senders do."""
    shutil.copytree(dicom_phantom, incoming / "Plantedsurname^Plantedgiven")
    (incoming / "PLANTED-ID-4711").mkdir()
    (incoming / "PLANTED-ID-4711" / "notes.txt").write_text("Plantedsurname")
    out = incoming.parent / "out"
    arguments = [
        "--watch",
        str(incoming),
        "--output_dir",
        str(out),
        "--quiet_s",
        "0",
        "--give_up_s",
        "0.5",
        "--until_empty",
    ]
    assert main([*arguments, "--model", str(finished_run / "models" / "model.pt")]) == 1
    done, failed = (list((incoming / name).iterdir()) for name in ("_done", "_failed"))
    assert len(done) == len(failed) == 1
    assert json.loads((out / done[0].name / "report.json").read_text("utf-8"))["numbers_given"] is False
    reason = (failed[0] / "reason.txt").read_text()
    assert "holds no DICOM object" in reason
    told = capsys.readouterr()
    written = [path for path in out.rglob("*.[hj]*")] + [incoming / "_journal.jsonl"]
    text = told.out + told.err + reason + "".join(path.read_text("utf-8", "ignore") for path in written)
    text += " ".join(str(path.relative_to(out)) for path in out.rglob("*")) + " ".join(os.listdir(incoming))
    assert not [word for word in PLANTED if word in text]
