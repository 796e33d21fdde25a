"""The paper's tables, from finished cells: means over seeds with the paper's number beside them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from scripts.experiments.cells import (
    ABLATIONS,
    FULL,
    NATIVE,
    OURS,
    SIZES,
    TRAINING_SIZE,
    Cell,
    Group,
    arm_order,
    groups_of,
)
from scripts.experiments.layout import Table, mean_and_sd, number
from scripts.experiments.published import CLASS_TABLES, published_name, published_rows, published_value
from scripts.experiments.summary import Scores, metric_words, paper_metric

SIZE_WORDS = {TRAINING_SIZE: "at training size (the paper's)", NATIVE: "at native size (the standard)"}
VARIANT_WORDS = {
    "paper": "mIoU of the classes that the paper counts",
    "all": "mIoU of all classes (the standard)",
    "dice": "mean foreground Dice (not in the paper)",
}
READING = "Mean over seeds ± sample standard deviation (number of seeds); '-' stands where nothing was measured."
ACDC_NOTE = "Whether the paper's ACDC numbers count the background cannot be told: they stand beside both variants."


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper, in its variants.

    Attributes:
        name: of its files. title: for the heading. parts: a table a variant. values: what they show and more, tidy.
    """

    name: str
    title: str
    parts: tuple[Table, ...]
    values: pd.DataFrame

    def markdown(self) -> str:
        return "\n\n".join([f"## {self.title}", READING, *(part.markdown() for part in self.parts)]) + "\n"


class Results:
    """Cells, with what tables need of them.

    Args:
        cells: in any order; what comes out does not depend on it.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        self.cells = sorted(cells, key=lambda cell: cell.order)
        self.scores = Scores(self.cells)
        self.titles = groups_of(self.cells)

    @property
    def groups(self) -> list[Group]:
        return list(self.titles)

    def of(self, group: Group) -> list[Cell]:
        return [cell for cell in self.cells if cell.group == group]

    def first(self, group: Group) -> Cell:
        """A cell that says what all of ``group`` share: classes, background."""
        return self.of(group)[0]

    def metric(self, group: Group, variant: str) -> str:
        """The score that a variant ("paper", "all", "dice") is for ``group``."""
        if variant == "paper":
            return paper_metric(self.first(group).background)
        return {"all": "miou", "dice": "mean_foreground_dice"}[variant]

    def words(self, group: Group, metric: str) -> str:
        """What ``metric`` of ``group`` is a mean over."""
        cell = self.first(group)
        return metric_words(metric, len(cell.class_names), cell.background)

    def rows(self, group: Group) -> list[tuple[str, float]]:
        """Arms and percentages that ran, in the paper's order."""
        return list(dict.fromkeys((cell.arm, cell.labeled_percent) for cell in self.of(group)))

    def shown(self) -> list[tuple[str, str]]:
        """Variants and sizes that say something of their own and that a cell has."""
        variants = ["paper", *(["all"] if any(self.first(group).background for group in self.groups) else [])]
        pairs = [(variant, size) for size in SIZES for variant in variants] + [("dice", NATIVE)]
        have = {(v, s): any(self.scores.has(self.metric(g, v), s) for g in self.groups) for v, s in pairs}
        return [pair for pair in pairs if have[pair]]


@dataclass(frozen=True)
class _Column:
    """A column of scores: of a group, maybe at one percentage."""

    group: Group
    title: str
    percent: float | None = None


def paper_tables(results: Results) -> list[PaperTable]:
    """Every table that the cells have something for."""
    tables = [_table_1(results), _table_2(results)]
    datasets = dict.fromkeys(group.dataset for group in results.groups)
    return [table for table in (*tables, *(_class_table(results, dataset) for dataset in datasets)) if table]


def _table_1(results: Results) -> PaperTable | None:
    """Arms and fractions by data sets."""
    rows = {row for group in results.groups for row in (*results.rows(group), *published_rows(group.dataset))}
    ordered = sorted((row for row in rows if row[0] not in ABLATIONS), key=lambda row: (arm_order(row[0]), -row[1]))
    labels = [(arm, percent, f"{arm}, {percent:g} %") for arm, percent in ordered]
    columns = [_Column(group, title) for group, title in results.titles.items()]
    return _table(results, "table_1", "Table 1: arms and label fractions", columns, labels)


def _table_2(results: Results) -> PaperTable | None:
    """The ablation, at the fractions at which one of its arms ran."""
    columns = [
        _Column(group, f"{title}, {percent:g} %", percent)
        for group, title in results.titles.items()
        for percent in sorted({percent for arm, percent in results.rows(group) if arm in ABLATIONS})
    ]
    rows = [(arm, None, arm) for arm in (OURS, *ABLATIONS)]
    return _table(results, "table_2", "Table 2: ablation", columns, rows) if columns else None


def _table(
    results: Results,
    name: str,
    title: str,
    columns: Sequence[_Column],
    rows: Sequence[tuple[str, float | None, str]],
) -> PaperTable:
    """A part for each variant and size; ``rows`` are arm, percentage (None: the column's) and label."""
    parts = tuple(_part(results, variant, size, columns, rows) for variant, size in results.shown())
    arms = {(arm, percent) for arm, percent, _ in rows}
    frame = results.scores.frame
    wanted = pd.Series(
        [
            not row.metric.startswith("iou_")
            and any(
                (row.dataset, row.grid) == (column.group.dataset, column.group.grid)
                and ((row.arm, row.percent) in arms or ((row.arm, None) in arms and row.percent == column.percent))
                for column in columns
            )
            for row in frame.itertuples()
        ],
        index=frame.index,
        dtype=bool,
    )
    return PaperTable(name, title, parts, frame[wanted])


def _part(
    results: Results,
    variant: str,
    size: str,
    columns: Sequence[_Column],
    rows: Sequence[tuple[str, float | None, str]],
) -> Table:
    """One variant at one size; beside a column that the paper has numbers for, those."""
    header, cells = ["arm"], [[label] for _, _, label in rows]
    for column in columns:
        metric = results.metric(column.group, variant)
        header.append(f"{column.title}: {results.words(column.group, metric)}")
        places = [(arm, _first_known(percent, column.percent)) for arm, percent, _ in rows]
        own = [mean_and_sd(results.scores.get(column.group, arm, percent, metric, size)) for arm, percent in places]
        paper = [published_value(column.group.dataset, arm, percent, metric, size) for arm, percent in places]
        drawn = [own]
        if any(value is not None for value in paper):
            header.append(f"paper ({published_name(column.group.dataset)})")
            drawn.append([number(value) for value in paper])
        for row, *texts in zip(cells, *drawn, strict=True):
            row += texts
    paper_acdc = size == TRAINING_SIZE and variant != "dice" and any(text == "paper (ACDC)" for text in header)
    title = f"{VARIANT_WORDS[variant]}, {SIZE_WORDS[size]}"
    return Table(title, tuple(header), tuple(map(tuple, cells)), (ACDC_NOTE,) if paper_acdc else ())


def _class_table(results: Results, dataset: str) -> PaperTable | None:
    """Class-wise IoU of one data set: a part for each grid, size and percentage, Full beside each."""
    name = CLASS_TABLES.get(published_name(dataset) or "")
    file = name or f"table_classes_{''.join(c if c.isalnum() else '_' for c in dataset.lower())}"
    title = f"Table {name.removeprefix('table_')}: IoU by class, {dataset}" if name else f"IoU by class, {dataset}"
    parts = []
    for group in (group for group in results.groups if group.dataset == dataset):
        rows = [(arm, percent) for arm, percent in results.rows(group) if arm not in ABLATIONS]
        for size in SIZES:
            for percent in sorted({p for arm, p in rows if arm != FULL}) or [100.0]:
                chosen = [(arm, p) for arm, p in rows if p == percent or arm == FULL]
                parts.append(_class_part(results, group, size, percent, chosen))
    found = tuple(part for part in parts if part is not None)
    frame = results.scores.frame
    values = frame[(frame["dataset"] == dataset) & frame["metric"].str.startswith("iou_")]
    return PaperTable(file, title, found, values) if found else None


def _class_part(
    results: Results, group: Group, size: str, percent: float, chosen: Sequence[tuple[str, float]]
) -> Table | None:
    names = results.first(group).class_names
    header, rows = ["class"], [[name] for name in names]
    metrics = [f"iou_{name}" for name in names]
    if not any(results.scores.has(metric, size) for metric in metrics):
        return None
    for arm, share in chosen:
        header.append(f"{arm}, {share:g} %")
        found = [results.scores.get(group, arm, share, metric, size) for metric in metrics]
        paper = [published_value(group.dataset, arm, share, metric, size) for metric in metrics]
        for row, value in zip(rows, found, strict=True):
            row.append(mean_and_sd(value))
        if any(value is not None for value in paper):
            header.append("paper")
            for row, other in zip(rows, paper, strict=True):
                row.append(number(other))
    title = f"{results.titles[group]}, {percent:g} % labelled, {SIZE_WORDS[size]}"
    return Table(title, tuple(header), tuple(map(tuple, rows)))


def _first_known(*values: float | None) -> float:
    return next(value for value in values if value is not None)
