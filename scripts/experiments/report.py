"""Everything that finished cells show: the paper's tables, comparisons, figures and one page of them all."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from scripts.configuration import make_folder
from scripts.errors import InputError
from scripts.experiments.cells import FULL, Cell, Group, read_cells
from scripts.experiments.comparison import compare_all, comparison_tables, tidy
from scripts.experiments.fairness import common_and_different, missing_cells
from scripts.experiments.figures import ablation_bars, label_fractions, learning_curves, save_figure
from scripts.experiments.layout import EMPTY, Table
from scripts.experiments.page import Page, Picture, Section, settings_points
from scripts.experiments.published import published_rows
from scripts.experiments.qualitative import COLUMNS, chosen_runs, draw_examples, examples
from scripts.experiments.tables import READING, PaperTable, Results, paper_tables
from scripts.files import write_atomically

SUMMARY = (
    "Every number is of the validation items, by which the best epoch of each run was chosen too: all arms alike, so "
    "differences are fair, but each is somewhat too good.",
    f"{READING} The paper (Mondal et al., arXiv 1908.11569) reports one number a setting, measured at training size on "
    "its own split of the data; its numbers stand beside the scores that are measured its way.",
)
PICTURES_WARNING = (
    "These pictures show images of the data set, whose licence may forbid to publish them: a report made without the "
    "folder of runs has none."
)


def write_report(cells_dir: Path, output_dir: Path, runs_dir: Path | None = None) -> list[Path]:
    """Make tables (Markdown and CSV), comparisons, figures, ``report.md`` and ``report.html``; print the tables.

    Args:
        cells_dir: holds the cells' JSON files, in any subfolders.
        output_dir: gets everything; made if it is not there.
        runs_dir: what the cells' ``run_dir`` is relative to; None leaves out the pictures of predictions.

    Returns:
        The files that were written.

    Raises:
        InputError: no cell, a broken one, or a file that cannot be written.
    """
    results = Results(read_cells(cells_dir))
    if not results.cells:
        raise InputError(
            f"{cells_dir} holds no finished cell, so there is nothing to report: run a grid (python -m "
            "scripts.experiments.paper run), or give the folder in which its cells' JSON files are."
        )
    folder = make_folder(output_dir, "output_dir")
    tables, comparisons = paper_tables(results), compare_all(results)
    written = [path for table in tables for path in _write_table(table, folder)]
    compared = Section("Do the differences stand?", tables=tuple(comparison_tables(results, comparisons)))
    if comparisons:
        written += _write_values("comparisons", _section_text(compared), tidy(comparisons), folder)
    curves = list(_measured_figures(results, folder / "figures"))
    shown, why_not = _examples(results, folder / "figures", runs_dir)
    pictures = [*curves, *shown]
    written += [file for picture in pictures for file in picture.files]
    page = _page(results, tables, compared, curves, (shown, why_not))
    written.append(_write_text(folder / "report.md", page.markdown(folder)))
    written.append(_write_text(folder / "report.html", page.html()))
    print("\n".join([*(table.markdown() for table in tables), *([_section_text(compared)] if comparisons else [])]))
    return written


def _page(
    results: Results,
    tables: Sequence[PaperTable],
    compared: Section,
    curves: Sequence[Picture],
    examples_shown: tuple[Sequence[Picture], Sequence[str]],
) -> Page:
    shown, why_not = examples_shown
    common, different = common_and_different(results.cells)
    missing = missing_cells(results.cells, published_rows)
    if not any(table.name == "table_2" for table in tables):
        missing.append("Table 2 (ablation): no ablation ran")
    sections = [
        *(Section(table.title, tables=table.parts) for table in tables),
        *([compared] if compared.tables else []),
        *([Section("Curves and bars", pictures=tuple(curves))] if curves else []),
        Section("Predictions", (PICTURES_WARNING,) if shown else (), pictures=tuple(shown), points=tuple(why_not)),
        Section("Settings", points=settings_points(common, different)),
        Section("Cells", tables=(_cells_table(results),)),
        Section("Missing cells", points=tuple(missing) or ("None.",)),
    ]
    data = ", ".join(results.titles.values())
    title = f"Arms and label fractions on {data}: {len(results.cells)} finished cells"
    return Page(title, SUMMARY, tuple(sections))


def _measured_figures(results: Results, folder: Path) -> Iterator[Picture]:
    """Curves, label fractions and ablations of every group."""
    for group, title in results.titles.items():
        percents = _percents(results, group)
        drawn: list[tuple[Callable[[], Figure | None], str, str, str]] = [
            *(
                (
                    partial(learning_curves, results, group, percent),
                    f"curves_{_slug(title)}_{percent:g}",
                    f"Learning curves, {title}, {percent:g} % labelled",
                    "Line: mean over seeds; band: from the lowest to the highest seed. At training size.",
                )
                for percent in percents
            ),
            (
                partial(label_fractions, results, group),
                f"fractions_{_slug(title)}",
                f"Score by share of labels, {title}",
                "Filled: mean over seeds, ± sd. Hollow: the paper's numbers, on its own split of the data.",
            ),
            *(
                (
                    partial(ablation_bars, results, group, percent),
                    f"ablation_{_slug(title)}_{percent:g}",
                    f"Ablation, {title}, {percent:g} % labelled",
                    "Bar: mean over seeds, ± sd; each dot a seed.",
                )
                for percent in percents
            ),
        ]
        for draw, name, heading, caption in drawn:
            if files := save_figure(draw, folder / name):
                yield Picture(heading, files, caption)


def _examples(results: Results, folder: Path, runs_dir: Path | None) -> tuple[list[Picture], list[str]]:
    """Pictures of predictions for every group and percentage, and why some are left out."""
    if runs_dir is None:
        return [], ["Left out: no folder of runs was given."]
    pictures, why_not = [], []
    for group, title in results.titles.items():
        for percent in _percents(results, group):
            told = f"{title}, {percent:g} % labelled"
            try:
                seed, runs = chosen_runs(results.of(group), percent, Path(runs_dir))
                shown = examples(runs)
            except InputError as error:
                why_not.append(f"{told}: left out, {error}")
                continue
            heading = f"{told}, seed {seed}"
            stem = folder / f"examples_{_slug(title)}_{percent:g}"
            files = save_figure(partial(draw_examples, shown, heading), stem, (".png",))
            caption = f"From top to bottom: {', '.join(shown.names)}."
            if lacking := [arm for arm in COLUMNS if arm not in runs]:
                caption += f" No run folder of {', '.join(lacking)}."
            pictures.append(Picture(f"Predictions, {heading}", files, caption))
    return pictures, why_not


def _cells_table(results: Results) -> Table:
    header = ("cell", "grid", "device", "commit", "arm", "%", "seed", "updates", "best epoch", "seconds", "threads")
    rows = tuple(
        (
            cell.cell,
            cell.grid,
            cell.device or EMPTY,
            cell.commit[:7] or EMPTY,
            cell.arm,
            f"{cell.labeled_percent:g}",
            str(cell.seed),
            str(cell.updates),
            EMPTY if cell.best_epoch is None else str(cell.best_epoch),
            f"{cell.seconds:.0f}",
            EMPTY if cell.threads is None else str(cell.threads),
        )
        for cell in results.cells
    )
    hours = sum(cell.seconds for cell in results.cells) / 3600
    return Table("What ran", header, rows, (f"{hours:.2f} hours in all.", *_items(results.cells)), words=5)


def _items(cells: Sequence[Cell]) -> list[str]:
    """How many items the sections had."""
    told: dict[str, str] = {}
    for cell in cells:
        counts = ", ".join(f"{count} {section}" for section, count in cell.items.items())
        told.setdefault(f"{cell.dataset}, {cell.labeled_percent:g} % labelled: {counts} items.", counts)
    return [text for text, counts in told.items() if counts]


def _percents(results: Results, group: Group) -> list[float]:
    """Percentages at which a figure can be drawn: of all arms but Full, which stands beside each."""
    rows = results.rows(group)
    return sorted({percent for arm, percent in rows if arm != FULL}) or [100.0]


def _write_table(table: PaperTable, folder: Path) -> list[Path]:
    return _write_values(table.name, table.markdown(), table.values, folder)


def _write_values(name: str, text: str, values: pd.DataFrame, folder: Path) -> list[Path]:
    content = values.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return [_write_text(folder / f"{name}.md", text), _write_text(folder / f"{name}.csv", content)]


def _write_text(path: Path, text: str) -> Path:
    return write_atomically(path, lambda partial_file: partial_file.write_text(text, encoding="utf-8", newline="\n"))


def _section_text(section: Section) -> str:
    return "\n\n".join([f"## {section.title}", *(table.markdown() for table in section.tables)]) + "\n"


def _slug(title: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in title.lower()).strip("_")
