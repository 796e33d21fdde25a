"""Whether a difference between two arms stands: paired tests across seeds."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from scripts.experiments.cells import ABLATIONS, FULL, HUNG, NATIVE, OURS, PARTIAL, TRAINING_SIZE, Cell, Group
from scripts.experiments.fairness import notes
from scripts.experiments.layout import EMPTY, Table, number, signed
from scripts.experiments.tables import SIZE_WORDS, Results

LEVEL = 0.05
PAIRS = ((OURS, PARTIAL), (HUNG, PARTIAL), (OURS, HUNG), (PARTIAL, FULL), *((arm, OURS) for arm in ABLATIONS))
"""Compared arms: the second is taken from the first. Full is compared at its own fraction, all others at the same."""

_RESAMPLES = 9999
_EXACT_UP_TO = 13
"""Seeds up to which all 2^n signs fit into ``_RESAMPLES``."""


@dataclass(frozen=True)
class PairedTest:
    """What the differences between pairs say; NaN where n is too small.

    Attributes:
        n: pairs. mean, sd: of the differences, sd with n - 1.
        low, high: 95 % confidence interval of the mean, by Student's t.
        t_p: of the paired t-test. exact_p: of the sign-flip permutation test; both two-sided.
        smallest_p: the least that the permutation test can give with n pairs.
    """

    n: int
    mean: float = math.nan
    sd: float = math.nan
    low: float = math.nan
    high: float = math.nan
    t_p: float = math.nan
    exact_p: float = math.nan
    smallest_p: float = math.nan


@dataclass(frozen=True)
class Comparison:
    """One pair of arms, at one percentage of labels, by one score.

    Attributes:
        group: of cells. percent: of labels. first, second: arms. metric, size: which score. seeds: that both have.
        test: of first minus second. holm_p: the t-test's p, corrected for all comparisons of the group by this score.
    """

    group: Group
    percent: float
    first: str
    second: str
    metric: str
    size: str
    seeds: tuple[int, ...]
    test: PairedTest
    holm_p: float = math.nan

    @property
    def verdict(self) -> str:
        if math.isnan(self.holm_p):
            return f"no test is possible (n = {self.test.n})"
        return "stands" if self.holm_p < LEVEL else "does not stand"


def paired_test(first: Sequence[float], second: Sequence[float]) -> PairedTest:
    """Compare scores of two arms, paired by seed.

    Args:
        first, second: of the same seeds in the same order; fewer than two pairs can be described but not tested.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    differences: NDArray = a - b
    n = len(differences)
    if n < 2:
        return PairedTest(n, mean=float(differences.mean()) if n else math.nan)
    mean, sd, smallest = float(differences.mean()), float(differences.std(ddof=1)), min(1.0, 2 * 0.5**n)
    if not differences.any():
        return PairedTest(n, mean, sd, 0.0, 0.0, t_p=1.0, exact_p=1.0, smallest_p=smallest)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # equal differences: t is infinite, p is 0
        result = stats.ttest_rel(a, b)
    interval = result.confidence_interval(1 - LEVEL)
    exact = stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf if n <= _EXACT_UP_TO else _RESAMPLES,
        rng=np.random.default_rng(0),
    )
    p_values = {"t_p": float(result.pvalue), "exact_p": float(exact.pvalue), "smallest_p": smallest}
    return PairedTest(n, mean, sd, float(interval.low), float(interval.high), **p_values)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: S. Holm, Scandinavian Journal of Statistics 6:65, 1979. NaNs stay and do not count."""
    p = np.asarray(p_values, dtype=float)
    corrected, known = np.full(len(p), np.nan), np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(steps))
    return corrected.tolist()


def compare(cells: Sequence[Cell], metric: str, size: str) -> list[Comparison]:
    """Every pair of ``PAIRS`` at every percentage at which both arms ran, corrected together.

    Args:
        cells: of one group.
        metric, size: a score of theirs.
    """
    values: dict[tuple[str, float], dict[int, float]] = {}
    for cell in sorted(cells, key=lambda cell: cell.order):
        value = cell.scores.get(size, {}).get(metric, math.nan)
        if not math.isnan(value):
            values.setdefault((cell.arm, cell.labeled_percent), {})[cell.seed] = value
    found = []
    for first, second in PAIRS:
        for percent in sorted({percent for arm, percent in values if arm == first}):
            reference = values.get((second, 100.0 if second == FULL else percent))
            if reference is None:
                continue
            scores = values[first, percent]
            seeds = tuple(sorted(set(scores) & set(reference)))
            test = paired_test([scores[seed] for seed in seeds], [reference[seed] for seed in seeds])
            group = cells[0].group
            found.append(Comparison(group, percent, first, second, metric, size, seeds, test))
    corrected = holm([comparison.test.t_p for comparison in found])
    return [replace(comparison, holm_p=p) for comparison, p in zip(found, corrected, strict=True)]


def compare_all(results: Results) -> list[Comparison]:
    """``compare`` for each group and each mean score that its cells have."""
    found = []
    for group in results.groups:
        metrics = dict.fromkeys(results.metric(group, variant) for variant in ("paper", "all", "dice"))
        for metric in metrics:
            for size in (TRAINING_SIZE, NATIVE):
                found += compare(results.of(group), metric, size)
    return found


def comparison_tables(results: Results, comparisons: Sequence[Comparison]) -> list[Table]:
    """For each group the comparisons by the paper's mIoU at training size and by the standard one at native size."""
    tables = []
    for group, title in results.titles.items():
        for variant, size in (("paper", TRAINING_SIZE), ("all", NATIVE)):
            metric = results.metric(group, variant)
            chosen = [c for c in comparisons if (c.group, c.metric, c.size) == (group, metric, size)]
            if chosen:
                heading = f"{title}: {results.words(group, metric)}, {SIZE_WORDS[size]}"
                compared = {arm for c in chosen for arm in (c.first, c.second)}
                cells = [cell for cell in results.of(group) if cell.arm in compared]
                tables.append(_table(heading, chosen, cells))
    return tables


def tidy(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """A row a comparison."""
    rows = [
        {
            "dataset": c.group.dataset,
            "grid": c.group.grid,
            "percent": c.percent,
            "first": c.first,
            "second": c.second,
            "metric": c.metric,
            "size": c.size,
        }
        | asdict(c.test)
        | {"holm_p": c.holm_p, "verdict": c.verdict}
        for c in comparisons
    ]
    return pd.DataFrame(rows)


def _table(title: str, chosen: Sequence[Comparison], cells: Sequence[Cell]) -> Table:
    header = ("difference", "seeds", "mean", "sd", "95 % interval", "p, t-test", "p, sign flips", "p, Holm", "at 0.05")
    rows = tuple(_row(comparison) for comparison in chosen)
    return Table(title, header, rows, (*_reading(chosen), *notes(cells)))


def _row(comparison: Comparison) -> tuple[str, ...]:
    test = comparison.test
    interval = EMPTY if math.isnan(test.low) else f"{signed(test.low)} to {signed(test.high)}"
    second = f"{comparison.second} 100 %" if comparison.second == FULL else comparison.second
    p_values = (number(p, 3) for p in (test.t_p, test.exact_p, comparison.holm_p))
    name = f"{comparison.first} minus {second}, {comparison.percent:g} %"
    return name, str(test.n), signed(test.mean), number(test.sd), interval, *p_values, comparison.verdict


def _reading(chosen: Sequence[Comparison]) -> list[str]:
    tested = [comparison.test for comparison in chosen if comparison.test.n >= 2]
    told = [
        "Differences are paired by seed. The interval and the t-test take the differences to be normally distributed; "
        "the sign-flip test does not. A difference stands if the t-test's p is below 0.05 after Holm's correction over "
        f"the {len(tested)} tests of this table."
    ]
    if len(tested) < len(chosen):
        told.append("A pair with fewer than two common seeds cannot be tested.")
    for n in sorted({test.n for test in tested}):
        smallest = next(test.smallest_p for test in tested if test.n == n)
        below = f", so it cannot fall below {LEVEL:g} here" if smallest >= LEVEL else ""
        told.append(f"With n = {n} the smallest p that the sign-flip test can give is {smallest:.3g}{below}.")
    return told
