"""Imports run downwards: what each room of ``scripts/`` may know is listed here, and read from the code."""

import ast
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"

BASE = {"errors", "files", "labels", "configuration"}
"""What every room above may use: no mathematics, no data, no method."""
LOWER = BASE | {"networks", "objectives", "data", "metrics", "palette", "training.precision"}

# A room is a package, a single file, or a file of a package that stands lower than the rest of it. Its name is a path
# below scripts/ with dots; of several that fit, the longest is meant. Within a room all may know each other.
ALLOWED: dict[str, set[str]] = {
    # The floor.
    "errors": set(),
    "labels": set(),
    "palette": set(),
    "components": set(),
    "likelihood": set(),
    "files": {"errors"},
    "configuration": {"errors"},
    "unknown_settings": {"errors", "configuration"},
    # Side by side: none knows another, or the trainer.
    "networks": BASE,
    "objectives": BASE,
    "data": BASE,
    "data.prepare": BASE | {"data", "palette", "metrics"},  # a command on top of the data room
    "metrics": BASE,
    "training.precision": BASE,
    # The engine knows objectives; networks, data and metrics are handed to it by the config.
    "training.finite": BASE,
    "training.pool": BASE,
    "training.schedule": BASE,
    "training.processes": BASE,
    "training.losses": BASE | {"objectives"},
    "training.trainer": BASE
    | {
        "objectives",
        "training.precision",
        "training.finite",
        "training.pool",
        "training.schedule",
        "training.processes",
        "training.losses",
    },
    # What is made of them.
    "model_card": BASE | {"data", "metrics"},
    "export": LOWER - {"objectives"} | {"model_card"},
    "prediction": LOWER - {"objectives"} | {"components", "likelihood"},
    "image_prediction": LOWER - {"objectives"},
    # Handlers: what a run leaves behind.
    "training": LOWER
    | {
        "model_card",
        "training.trainer",
        "training.finite",
        "training.pool",
        "training.schedule",
        "training.processes",
        "prediction",
    },
    # Uses of a trained model know nothing of training.
    "inference": LOWER - {"objectives"} | {"model_card", "prediction", "image_prediction"},
    "evaluation": LOWER - {"objectives"} | {"model_card", "prediction", "image_prediction", "inference"},
    "clinical": LOWER - {"objectives"}
    | {"model_card", "export", "components", "prediction", "inference", "evaluation"},
}
ABOVE = {"experiments", "benchmarks"}
"""These may know everything, and nothing knows them."""
ALLOWED |= {room: set(ALLOWED) for room in ABOVE}


def module_of(path: Path) -> str:
    """``scripts/data/slices.py`` as ``data.slices``; a package as its own name, ``scripts`` itself as nothing."""
    parts = path.relative_to(SCRIPTS).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = SCRIPTS.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def room_of(module: str) -> str:
    """The room that a module stands in; "" for ``scripts`` itself, which holds the version only."""
    rooms = [room for room in ALLOWED if module == room or module.startswith(f"{room}.")]
    if not module:
        return ""
    assert rooms, f"scripts/{module.replace('.', '/')} stands in no room: say in ALLOWED what it may know"
    return max(rooms, key=len)


def imports_of(source: str, package: str = "") -> set[str]:
    """Modules of ``scripts`` that a source imports anywhere, named from below ``scripts``.

    Args:
        source: Python.
        package: where the source stands, for relative imports.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = f"scripts.{package}".rstrip(".").split(".")
            prefix = ".".join(above[: len(above) + 1 - node.level]) if node.level else ""
            base = ".".join(part for part in (prefix, node.module) if part)
            for alias in node.names:
                name = f"{base}.{alias.name}"
                found.add(name if is_module(name.removeprefix("scripts.")) else base)
    ours = {name for name in found if name == "scripts" or name.startswith("scripts.")}
    return {name.removeprefix("scripts").removeprefix(".") for name in ours}


MODULES = sorted(SCRIPTS.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_module_knows_only_rooms_below_its_own(path: Path) -> None:
    module = module_of(path)
    if not module:
        assert not imports_of(path.read_text(encoding="utf-8"))
        return
    room = room_of(module)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    known = {room_of(name) for name in imports_of(path.read_text(encoding="utf-8"), package)} - {"", room}
    assert known <= ALLOWED[room], f"{room} must not know {sorted(known - ALLOWED[room])}"


def test_every_room_that_is_mentioned_exists_in_the_list() -> None:
    assert set().union(*ALLOWED.values()) <= set(ALLOWED)


def test_the_list_itself_runs_downwards() -> None:
    left = dict(ALLOWED)
    while left:
        lowest = [room for room, allowed in left.items() if not (allowed - {room}) & set(left)]
        assert lowest, f"a circle among {sorted(left)}"
        left = {room: allowed for room, allowed in left.items() if room not in lowest}


def test_nothing_knows_experiments_or_benchmarks() -> None:
    assert not any(allowed & ABOVE for allowed in ALLOWED.values())


@pytest.mark.parametrize("room", ["objectives", "networks", "data", "metrics"])
def test_the_four_know_neither_each_other_nor_the_trainer(room: str) -> None:
    others = {"objectives", "networks", "data", "metrics", "training", "training.trainer"} - {room}
    assert not ALLOWED[room] & others


def test_a_module_without_a_room_is_found() -> None:
    with pytest.raises(AssertionError, match=r"scripts/utils/odds stands in no room"):
        room_of("utils.odds")


def test_a_single_file_may_stand_lower_than_its_package() -> None:
    assert room_of("training.precision") == "training.precision"
    assert room_of("training.state") == "training"
    assert room_of("") == ""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch\nfrom pathlib import Path", set()),
        ("import scripts.data.split", {"data.split"}),
        ("from scripts.data.split import read_split", {"data.split"}),
        ("from scripts.data import split", {"data.split"}),
        ("from scripts import __version__, metrics", {"", "metrics"}),
        ("def f():\n    from scripts.objectives import cyclegan", {"objectives.cyclegan"}),
        ("from . import pool", {"training.pool"}),
        ("from .pool import FakePool", {"training.pool"}),
        ("from ..data.split import read_split", {"data.split"}),
    ],
)
def test_imports_are_read_in_every_form(source: str, expected: set[str]) -> None:
    assert imports_of(source, package="training") == expected
