"""Two arms of the semi-supervised benchmark against each other, pair by pair, whose cells may lie in several folders.

python -m scripts.experiments.ssl_pairs --cells docs/results/cells --pair "ssl_small/cycle teacher" "ssl_small/mean teacher"

prints, for each cell of the first arm that the second has, too (patients and seed), Dice, distance and what it gains in them, and by
how much it is ahead after each epoch; then mean, standard deviation and 95 % interval over all pairs together. With --one_component
Dice and distance are of labels with one component of each class, as inference gives them; with --withheld of the unlabelled patients,
whose labels no run was shown; leads are of validation, and of all that the networks give.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts.errors import InputError, exit_code_of
from scripts.experiments.comparison import PairedTest, paired_test
from scripts.experiments.layout import EMPTY, Table, number, signed
from scripts.experiments.ssl_rows import read_rows, scored_patients, scores_of

Cell = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """Cells of two arms, of the same patients, seed, updates, precision, processor and number of threads.

    Attributes:
        name: of the first arm, as asked for. first, second: the cells, ``structures`` being the scores that are compared.
    """

    name: str
    first: Cell
    second: Cell

    def leads(self) -> dict[int, float]:
        """Points of Dice on the networks' grid by which the first is ahead after each epoch that both have."""
        ours, theirs = ({entry["epoch"]: entry["mean_dice"] for entry in c["curve"]} for c in (self.first, self.second))
        return {epoch: 100 * (ours[epoch] - theirs[epoch]) for epoch in ours if epoch in theirs}


def pairs(
    root: Path, first: str, second: str, one_component: bool = False, withheld: bool = False
) -> tuple[list[Pair], list[str]]:
    """What is paired of two arms, each "FOLDER/ARM" with a folder of ``root``; and what is not, and why.

    Args:
        one_component: take the scores of labels with one component of each class, which inference gives; a cell may have none.
        withheld: take those of the unlabelled patients, which a cell may not have either.

    Raises:
        InputError: for a name that is not of this form, a folder without cells, an arm without any.
    """
    ours, theirs = _cells(root, first), _cells(root, second)
    split = "unlabeled" if withheld else "validation"
    asked = (" of the unlabelled patients" if withheld else "") + (" with one component" if one_component else "")
    found, left = [], []
    for key, cell in ours.items():
        other = theirs.get(key)
        what = f"{first}, {key[0]} patients, seed {key[1]}"
        if other is None:
            left.append(f"Not paired: {what}, which {second} has not.")
        elif _conditions(cell) != _conditions(other):
            left.append(
                f"Not paired: {what}, which {second} has with another processor, number of threads, precision or number of updates."
            )
        elif scored_patients(cell, split) != scored_patients(other, split):
            left.append(
                f"Not paired: {what}, since it and that of {second} have no scores of the same unlabelled patients."
            )
        elif all(scores := [scores_of(each, split, one_component) for each in (cell, other)]):
            found.append(Pair(first, {**cell, "structures": scores[0]}, {**other, "structures": scores[1]}))
        else:
            left.append(f"Not paired: {what}, since it or that of {second} has no scores{asked}.")
    return found, left


def _conditions(cell: Cell) -> tuple[Any, ...]:
    return cell["device"], cell.get("threads"), cell["updates"], cell["settings"].get("precision")


def _cells(root: Path, name: str) -> dict[tuple[int, int], Cell]:
    """Cells of an arm by labelled patients and seed."""
    folder, _, arm = name.partition("/")
    if not arm:
        raise InputError(f"--pair takes FOLDER/ARM twice, as 'ssl_small/mean teacher', got {name!r}.")
    rows = read_rows(root / folder)
    cells = {(row.labeled_patients, int(c["seed"])): c for row in rows if row.arm == arm for c in row.cells}
    if not cells:
        raise InputError(f"{root / folder} has no cell of {arm!r}; there are {', '.join({r.arm: 0 for r in rows})}.")
    return cells


def table(found: Sequence[Pair], left: Sequence[str] = (), what: str = "Gains pair by pair") -> Table:
    """A row a pair, and the means of all; ``left``: what to say of cells without a partner; ``what``: begins the title."""
    dice, hd95 = (
        [(_score(pair.first, metric), _score(pair.second, metric)) for pair in found] for metric in ("dice", "hd95_mm")
    )
    leads = [pair.leads() for pair in found]
    epochs = sorted({epoch for lead in leads for epoch in lead})
    lines = [
        (
            pair.name,
            str(pair.first["settings"]["labeled_patients"]),
            str(pair.first["seed"]),
            number(d[0], 2),
            signed(d[0] - d[1], 2),
            number(h[0], 1),
            signed(h[0] - h[1], 1),
            number(pair.first["seconds"] / 60, 1),
            *(signed(lead.get(epoch), 1) for epoch in epochs),
        )
        for pair, d, h, lead in zip(found, dice, hd95, leads, strict=True)
    ]
    tests = [paired_test(*zip(*scores, strict=True)) for scores in (dice, hd95)]
    by_epoch = [[lead[epoch] for lead in leads if epoch in lead] for epoch in epochs]
    gains = (EMPTY, _mean(tests[0], 2), EMPTY, _mean(tests[1], 1), EMPTY)
    lines.append((f"mean of {len(found)}", EMPTY, EMPTY, *gains, *(signed(float(np.mean(of)), 1) for of in by_epoch)))
    counts = (f"after epoch {epoch} {sum(lead > 0 for lead in of)}" for epoch, of in zip(epochs, by_epoch, strict=True))
    notes = [f"Ahead: in Dice {sum(ours > theirs for ours, theirs in dice)} of {len(found)}; {', '.join(counts)}."]
    if len(found) > 1:
        low, high = signed(tests[0].low, 2), signed(tests[0].high, 2)
        notes.append(
            f"95 % interval of the gain in Dice: {low} to {high} (Student's t, p {tests[0].t_p:.2g}; by flipping signs "
            f"{tests[0].exact_p:.2g}), as if the pairs were independent; those that share a cell are not."
        )
    header = ("arm", "patients", "seed", "Dice %", "gain", "HD95 mm", "gain", "minutes", *map(str, epochs))
    title = f"{what}, and lead on validation in points of Dice after each epoch"
    return Table(title, header, tuple(lines), (*notes, *left))


def _score(cell: Cell, metric: str) -> float:
    """Mean of the structures, NaN where none has one; Dice in percent."""
    value = cell["structures"]["mean"][metric]
    return math.nan if value is None else value * (100 if metric == "dice" else 1)


def _mean(test: PairedTest, digits: int) -> str:
    return signed(test.mean, digits) + ("" if math.isnan(test.sd) else f" ± {number(test.sd, digits)}")


def main(arguments: Sequence[str] | None = None) -> int:
    known = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known.add_argument("--cells", type=Path, required=True, help="folder of the folders of finished cells")
    known.add_argument(
        "--pair", nargs=2, action="append", required=True, metavar="FOLDER/ARM", help="may be given several times"
    )
    known.add_argument(
        "--one_component",
        action="store_true",
        help="Dice and distance of labels with one component of each class, as inference gives them",
    )
    known.add_argument(
        "--withheld",
        action="store_true",
        help="Dice and distance of the unlabelled patients, whose labels no run was shown",
    )
    options = known.parse_args(arguments)

    def compare() -> int:
        found, left = [], []
        for first, second in options.pair:
            paired, unpaired = pairs(options.cells, first, second, options.one_component, options.withheld)
            found += paired
            left += unpaired
        if not found:
            raise InputError(f"nothing can be paired. {' '.join(left)}")
        what = "Gains pair by pair" + (" on the unlabelled patients" if options.withheld else "")
        what += " with one component of each class" if options.one_component else ""
        print(table(found, left, what).markdown())
        return 0

    return exit_code_of(compare, failed=2)


if __name__ == "__main__":
    sys.exit(main())
