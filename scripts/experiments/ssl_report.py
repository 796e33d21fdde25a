"""The table of the semi-supervised benchmark: our arms, mean and standard deviation over seeds, and what is published.

python -m scripts.experiments.ssl_report --cells docs/results/cells/ssl_small --reference supervised "cycle teacher"

writes report.md, report.csv and report.json of the finished cells in a folder, with gains over the reference arms.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scripts.errors import InputError, exit_code_of
from scripts.evaluation.report import plain
from scripts.experiments.layout import EMPTY, Table, number, signed
from scripts.experiments.ssl_rows import METRICS, REFERENCE, Row, read_rows
from scripts.files import write_atomically, write_json

PUBLISHED = Path(__file__).with_name("ssl_acdc_published.csv")
HEADER = ("Dice %", "Jaccard %", "HD95 voxels", "ASD voxels", "HD95 mm", "ASD mm")
DIGITS = (2, 2, 2, 2, 1, 2)
NOTES = (
    "Means over the cases (a patient's ED or ES volume, on the acquired grid) and the three structures; ours with the standard "
    "deviation over seeds, where there are several. Published rows are of the 20 test patients.",
    "HD95 in voxels is the 95th percentile of the distances of both directions together and ASD is directed from the prediction, as "
    "the published tables have them; HD95 in mm is the larger of both directions' percentiles. Structures missed or invented have no distance.",
    "Gains over another arm are paired, over the seeds that both have. Images/s are labelled ones, over the whole time.",
)
AS_GIVEN = "No component is removed: labels are as the network gives them."
WITHHELD = (
    "The same models on the unlabelled patients, whose labels no run was shown and which chose nothing; arms that learn from unlabelled "
    "images were trained on theirs, supervised ones never saw them. Of arms all of whose cells have these scores, of the same patients."
)
ONE_COMPONENT = (
    "The same models with one component of each class, as inference and the clinical workflow keep it; of arms all of whose cells have "
    "these scores."
)


def tables(rows: Sequence[Row], references: Sequence[str] = (REFERENCE,)) -> list[Table]:
    """For every number of labelled patients: our arms, with gains over ``references``, and the published ones; the arms that have scores
    with one component of each class; those that have scores of the unlabelled patients, both ways; then our arms by structure, and by
    epoch."""
    published = pd.read_csv(PUBLISHED)
    found = []
    for count in dict.fromkeys(row.labeled_patients for row in rows):
        ours = [row for row in rows if row.labeled_patients == count]
        theirs = published[published["labeled_patients"] == count]
        notes = (*NOTES, AS_GIVEN, *_sources(theirs), *_commits(ours), *_devices(ours))
        lines = [_published(row, len(references)) for row in theirs.to_dict("records")]
        found.append(_of_arms(_patients(count), ours, references, lines, notes))
        if largest := _with_one_component(ours):
            title = f"{_patients(count)}, one component of each class"
            found.append(_of_arms(title, largest, references, (), (ONE_COMPONENT,)))
        if held := _withheld(ours):
            found.append(_of_arms(f"{_patients(count)}, unlabelled patients", held, references, (), (WITHHELD,)))
        if largest := _with_one_component(held):
            title = f"{_patients(count)}, unlabelled patients, one component of each class"
            found.append(_of_arms(title, largest, references, (), (WITHHELD, ONE_COMPONENT)))
        found += [_by_structure(count, ours), _by_epoch(count, ours)]
    return found


def _with_one_component(rows: Iterable[Row]) -> list[Row]:
    """Those of the ``rows`` that have such scores, with these."""
    return list(filter(None, map(Row.with_one_component, rows)))


def _withheld(rows: Iterable[Row]) -> list[Row]:
    """Those of the ``rows`` that have scores of the unlabelled patients, with these."""
    return list(filter(None, map(Row.with_withheld, rows)))


def _of_arms(
    title: str, rows: Sequence[Row], references: Sequence[str], further: Sequence[tuple[str, ...]], notes: Sequence[str]
) -> Table:
    """A line an arm, then the ``further`` lines."""
    by_arm = {row.arm: row for row in rows}
    lines = [_line(row, [by_arm.get(name) for name in references]) for row in rows]
    gains = (f"over {name}" for name in references)
    header = ("arm", "split, seeds", *HEADER, *gains, "updates", "minutes", "images/s")
    return Table(title, header, (*lines, *further), tuple(notes), words=2)


def _patients(count: int) -> str:
    return f"{count} labelled patient{'s' if count != 1 else ''}"


def _line(row: Row, references: Sequence[Row | None]) -> tuple[str, ...]:
    scores = [_mean_and_sd(row.values(metric), metric, digits) for metric, digits in zip(METRICS, DIGITS, strict=True)]
    return (
        row.arm,
        row.scored,
        *scores,
        *(_gain(row, reference) for reference in references),
        str(row.updates),
        number(row.minutes, 1),
        number(row.images_per_second, 1),
    )


def _gain(row: Row, reference: Row | None) -> str:
    """Points of Dice more than ``reference``, over the seeds that both have, with the standard deviation of the pairs; ``EMPTY``
    over itself, and over one of other updates or patients."""
    if reference is None or reference is row:
        return EMPTY
    if (reference.updates, reference.scored_on) != (row.updates, row.scored_on):
        return EMPTY
    ours, theirs = (dict(zip(arm.seeds, 100 * arm.values("dice"), strict=True)) for arm in (row, reference))
    gains = np.array([ours[seed] - theirs[seed] for seed in ours if seed in theirs])
    if not len(gains):
        return EMPTY
    mean = signed(float(gains.mean()), 2)
    return mean if len(gains) < 2 else f"{mean} ± {number(float(gains.std(ddof=1)), 2)}"


def _sources(published: pd.DataFrame) -> Iterable[str]:
    """A note of where the ``published`` rows are from, if there are any."""
    by_source = published.groupby("source", sort=False)["method"].agg(", ".join)
    if len(by_source):
        yield f"Sources: {'; '.join(f'{methods}: {source}' for source, methods in by_source.items())}."


def _commits(rows: Iterable[Row]) -> Iterable[str]:
    """A note of each arm whose seeds were run at several commits, by which its method may differ."""
    for row in rows:
        commits = list(dict.fromkeys(str(cell["commit"])[:7] for cell in row.cells))
        if len(commits) > 1:
            yield f"The seeds of {row.arm} were run at several commits: {', '.join(commits)}."


def _devices(rows: Iterable[Row]) -> Iterable[str]:
    """A note where devices or numbers of threads differ, whose rounding alone moves a score."""
    arms: dict[str, list[str]] = {}
    for row in rows:
        for cell in row.cells:
            threads = f", threads {cell['threads']}" if cell.get("threads") else ""
            arms.setdefault(cell["device"] + threads, []).append(f"{row.arm!r} {cell['seed']}")
    if len(arms) > 1:
        told = "; ".join(f"{device}: {', '.join(names)}" for device, names in arms.items())
        yield (
            "Of several devices or numbers of threads, so differences may be of rounding, too, and times are not to be "
            f"compared (arm and seed): {told}."
        )


def _published(row: Mapping[str, Any], references: int) -> tuple[str, ...]:
    columns = ("dice", "jaccard", "hd95_voxel", "asd_voxel")
    scores = [number(row[column], 2) for column in columns]
    return (f"published: {row['method']}", "test", *scores, *[EMPTY] * (5 + references))


def _by_structure(count: int, rows: Iterable[Row]) -> Table:
    lines = []
    for row in rows:
        for structure in row.structures:
            scores = [_mean_and_sd(row.values(m, structure), m, d) for m, d in zip(METRICS, DIGITS, strict=True)]
            lines.append((row.arm, structure, *scores))
    return Table(f"{_patients(count)}, by structure", ("arm", "structure", *HEADER), tuple(lines), words=2)


def _by_epoch(count: int, rows: Iterable[Row]) -> Table:
    """Mean foreground Dice of the validation patients on the networks' grid, mean over the seeds."""
    curves = {
        row.arm: pd.DataFrame([{entry["epoch"]: entry["mean_dice"] for entry in cell["curve"]} for cell in row.cells])
        for row in rows
    }
    epochs = sorted({int(epoch) for curve in curves.values() for epoch in curve.columns})
    lines = [(arm, *(number(curve.mean().get(epoch), 3) for epoch in epochs)) for arm, curve in curves.items()]
    title = f"{_patients(count)}, mean foreground Dice of validation on each arm's own grid after each epoch"
    return Table(title, ("arm", *map(str, epochs)), tuple(lines))


def _mean_and_sd(values: np.ndarray, metric: str, digits: int) -> str:
    known = values[np.isfinite(values)] * (100 if metric in ("dice", "iou") else 1)
    mean = number(float(known.mean()) if len(known) else None, digits)
    return mean if len(known) < 2 else f"{mean} ± {number(float(known.std(ddof=1)), digits)}"


def write_report(cells: Path, folder: Path, references: Sequence[str] | None = None) -> str:
    """Write ``report.md``, ``report.json`` and ``report.csv`` of the cells in folder ``cells`` into ``folder``; the page.

    Args:
        references: arms over which gains are shown; without, ``REFERENCE``, if it is there.

    Raises:
        InputError: a reference that has no cell, or see ``read_rows``.
    """
    chosen = (REFERENCE,) if references is None else references
    rows = read_rows(cells, chosen[0])
    arms = sorted({row.arm for row in rows})
    if unknown := [arm for arm in references or () if arm not in arms]:
        raise InputError(f"--reference {unknown[0]!r} has no cell in {cells}; there are {', '.join(arms)}.")
    page = "\n\n".join(table.markdown() for table in tables(rows, chosen))
    write_atomically(folder / "report.md", lambda path: path.write_text(f"{page}\n", encoding="utf-8"))
    scored = [*rows, *_withheld(rows)]
    records = [
        {
            "arm": row.arm,
            "labeled_patients": row.labeled_patients,
            "split": row.split,
            "seed": cell["seed"],
            "updates": cell["updates"],
            "seconds": cell["seconds"],
            "one_component": row.one_component,
            **{metric: float(row.values(metric)[index]) for metric in METRICS},
        }
        for row in (*scored, *_with_one_component(scored))
        for index, cell in enumerate(row.cells)
    ]
    write_json(folder / "report.json", plain(records))
    write_atomically(folder / "report.csv", lambda path: pd.DataFrame(records).to_csv(path, index=False))
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    known = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known.add_argument("--cells", type=Path, required=True, help="folder of the finished cells of one scale")
    known.add_argument("--reference", nargs="+", help=f"arms over which gains are shown; default: {REFERENCE}")
    known.add_argument("--output_dir", type=Path, default=Path("output/ssl/report"))
    options = known.parse_args(arguments)

    def report() -> int:
        print(write_report(options.cells, options.output_dir, options.reference))
        return 0

    return exit_code_of(report, failed=2)


if __name__ == "__main__":
    sys.exit(main())
