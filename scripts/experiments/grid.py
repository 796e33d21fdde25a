"""What a grid of experiments consists of: data sets, arms, labelled fractions, seeds; each combination is a cell."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.experiments.cells import ABLATIONS, FULL, HUNG, OURS, PARTIAL

GRIDS = Path(__file__).with_name("grids")
DATA = {"ACDC": (), "VOC": ("configs/data_voc.json",), "Cityscapes": ("configs/data_cityscapes.json",)}
"""Overlays of ``configs/train.json`` by data set, with the names of the paper's tables."""


@dataclass(frozen=True)
class Arm:
    """How an arm differs from ``configs/train.json``; ``fraction``, where given, is the only one it is run at."""

    configs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    fraction: float | None = None


SUPERVISED, ADVERSARIAL = ("configs/method_supervised.json",), ("configs/method_adversarial.json",)
ARMS = {
    FULL: Arm(SUPERVISED, fraction=1.0),
    PARTIAL: Arm(SUPERVISED),
    HUNG: Arm(ADVERSARIAL),
    OURS: Arm(),
    **{arm: Arm(settings={f"weights#{arm.removeprefix('w/o ')}": 0}) for arm in ABLATIONS},
}
"""By the names of the paper's tables 1 and 2."""


@dataclass(frozen=True)
class CellSpec:
    """One run of a grid.

    Attributes:
        grid, name: together they name it; ``name`` is fit for a file.
        dataset, arm: keys of ``DATA`` and ``ARMS``. labeled_percent, seed: of the run.
        configs: overlays, after ``configs/train.json``. settings: further overrides, as on the command line.
    """

    grid: str
    name: str
    dataset: str
    arm: str
    labeled_percent: float
    seed: int
    configs: tuple[str, ...]
    settings: Mapping[str, Any]

    @property
    def identity(self) -> dict[str, Any]:
        """What a finished cell must agree in to be this one; plain JSON."""
        return json.loads(json.dumps(asdict(self)))


def cell_name(dataset: str, arm: str, labeled: float, seed: int) -> str:
    """Fit for a file; ``labeled``: how much is."""
    return "-".join((_slug(dataset), _slug(arm), f"{labeled:g}", f"seed{seed}"))


@dataclass(frozen=True)
class Block:
    """All combinations of some data sets, arms, fractions and seeds."""

    data: Sequence[str]
    arms: Sequence[str]
    fractions: Sequence[float]
    seeds: Sequence[int]


@dataclass(frozen=True)
class Grid:
    """Blocks of cells with common settings.

    Raises:
        InputError: an unknown data set or arm, a fraction outside (0, 1], a seed that is not a whole number, no cell.
    """

    name: str
    blocks: Sequence[Block]
    settings: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""

    def __post_init__(self) -> None:
        for what, known, given in (
            ("data set", DATA, [name for block in self.blocks for name in block.data]),
            ("arm", ARMS, [name for block in self.blocks for name in block.arms]),
        ):
            unknown = [name for name in given if name not in known]
            if unknown:
                raise InputError(f"grid {self.name}: no {what} {unknown[0]!r}; there are {', '.join(known)}.")
        for block in self.blocks:
            if any(not isinstance(f, int | float) or not 0 < f <= 1 for f in block.fractions):
                raise InputError(f"grid {self.name}: fractions must lie in (0, 1], got {list(block.fractions)}.")
            if any(isinstance(seed, bool) or not isinstance(seed, int) or seed < 0 for seed in block.seeds):
                raise InputError(f"grid {self.name}: seeds must be whole numbers from 0 on, got {list(block.seeds)}.")
        if not self.cells():
            raise InputError(f"grid {self.name} has no cell: give data, arms, fractions and seeds.")

    def cells(self) -> list[CellSpec]:
        """Each cell once, seed by seed, so that a grid cut short has whole seeds."""
        found: dict[str, CellSpec] = {}
        for block in self.blocks:
            for dataset in block.data:
                for arm in block.arms:
                    fraction = ARMS[arm].fraction
                    for f in block.fractions if fraction is None else [fraction]:
                        for seed in block.seeds:
                            cell = self._cell(dataset, arm, f, seed)
                            found.setdefault(cell.name, cell)
        return sorted(found.values(), key=lambda cell: cell.seed)

    def _cell(self, dataset: str, arm: str, fraction: float, seed: int) -> CellSpec:
        percent = round(100 * fraction, 6)
        name = cell_name(dataset, arm, percent, seed)
        settings = {**self.settings, **ARMS[arm].settings, "labeled_fraction": fraction, "seed": seed}
        return CellSpec(self.name, name, dataset, arm, percent, seed, (*DATA[dataset], *ARMS[arm].configs), settings)

    def narrowed(
        self,
        settings: Mapping[str, Any],
        data: Sequence[str] | None = None,
        arms: Sequence[str] | None = None,
        **replaced: Sequence | None,
    ) -> "Grid":
        """This grid with further ``settings``, of its ``data`` and ``arms`` only those given, and with other ``fractions``
        and ``seeds`` if given.

        Raises:
            InputError: as the class; and if nothing is left, or a data set or arm is not in the grid.
        """
        for what, chosen, there in (
            ("data set", data, {name for block in self.blocks for name in block.data}),
            ("arm", arms, {name for block in self.blocks for name in block.arms}),
        ):
            absent = [name for name in chosen or () if name not in there]
            if absent:
                raise InputError(f"grid {self.name} has no {what} {absent[0]!r}; it has {', '.join(sorted(there))}.")
        other = {name: list(values) for name, values in replaced.items() if values}
        blocks = [
            replace(
                block,
                data=[name for name in block.data if not data or name in data],
                arms=[name for name in block.arms if not arms or name in arms],
                **other,
            )
            for block in self.blocks
        ]
        return replace(self, blocks=blocks, settings={**self.settings, **settings})


def read_grid(name: str | Path) -> Grid:
    """Read a grid from a JSON file, or by the name of one in ``scripts/experiments/grids``.

    Raises:
        InputError: no such file, not a grid, or one that ``Grid`` refuses.
    """
    path = Path(name) if str(name).endswith(".json") else GRIDS / f"{name}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        blocks = [Block(**block) for block in content.pop("blocks")]
        return Grid(**{"name": path.stem} | content, blocks=blocks)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        known = ", ".join(sorted(file.stem for file in GRIDS.glob("*.json")))
        raise InputError(
            f"{path} is not a grid ({type(error).__name__}: {error}): expected JSON with blocks of data, arms, fractions "
            f"and seeds, and maybe settings and description, or one of the names {known}."
        ) from error


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
