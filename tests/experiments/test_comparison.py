"""Paired tests against scipy and by hand, and what is said where no test is possible."""

import math
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest
from scipy import stats

from scripts.experiments.cells import Cell
from scripts.experiments.comparison import PAIRS, Comparison, compare, compare_all, comparison_tables, holm, paired_test
from scripts.experiments.comparison import tidy as tidy_comparisons
from scripts.experiments.tables import Results

Make = Callable[..., list[Cell]]
METRIC, SIZE = "foreground_miou", "training_size"


def sign_flips(differences: Sequence[float]) -> float:
    """Two-sided p by enumeration: the share of all signs with a mean at least as far from 0."""
    means = [abs(np.mean(np.multiply(signs, differences))) for signs in product((1, -1), repeat=len(differences))]
    return float(np.mean([mean >= abs(np.mean(differences)) - 1e-12 for mean in means]))


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_paired_test_agrees_with_textbook_and_enumeration(n: int) -> None:
    rng = np.random.default_rng(n)
    first, second = rng.normal(0.03, 0.02, n), rng.normal(0, 0.02, n)
    test, d = paired_test(first, second), first - second
    error = d.std(ddof=1) / math.sqrt(n)
    reach = stats.t.ppf(0.975, n - 1) * error
    assert (test.n, test.mean, test.sd) == (n, pytest.approx(d.mean()), pytest.approx(d.std(ddof=1)))
    assert (test.low, test.high) == (pytest.approx(d.mean() - reach), pytest.approx(d.mean() + reach))
    assert test.t_p == pytest.approx(2 * stats.t.sf(abs(d.mean()) / error, n - 1))
    assert test.exact_p == pytest.approx(sign_flips(d))
    assert test.exact_p >= test.smallest_p


@pytest.mark.parametrize(("n", "smallest"), [(2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_the_smallest_p_is_what_the_test_gives_for_the_clearest_difference(n: int, smallest: float) -> None:
    test = paired_test(np.linspace(0.5, 0.6, n), np.linspace(0.1, 0.15, n))
    assert test.smallest_p == smallest
    assert test.exact_p == pytest.approx(smallest)


def test_many_seeds_are_sampled_repeatably() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.01, 0.02, 20), rng.normal(0, 0.02, 20)
    assert paired_test(first, second) == paired_test(first, second)
    assert paired_test(first, second).exact_p == pytest.approx(paired_test(first, second).t_p, abs=0.03)


def test_too_few_pairs_are_described_only() -> None:
    one = paired_test([0.5], [0.25])
    assert (one.n, one.mean) == (1, 0.25)
    assert math.isnan(one.t_p)
    assert math.isnan(one.low)
    assert math.isnan(paired_test([], []).mean)


def test_equal_scores_differ_by_nothing() -> None:
    test = paired_test([0.5, 0.25, 0.125], [0.5, 0.25, 0.125])
    assert (test.mean, test.sd, test.t_p, test.exact_p) == (0, 0, 1, 1)


@pytest.mark.filterwarnings("error")
def test_equal_differences_raise_no_warning() -> None:
    assert paired_test([0.5, 0.75, 0.25], [0.25, 0.5, 0.0]).t_p == pytest.approx(0)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03 times 3, 2, 1 is 0.03, 0.04, 0.03; never below the one before.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.8]) == [1, 1]
    corrected = holm([math.nan, 0.04, 0.01])
    assert math.isnan(corrected[0])
    assert corrected[1:] == pytest.approx([0.04, 0.02])
    assert holm([]) == []


def test_pairs_are_of_equal_seed_and_fraction(make_cells: Make) -> None:
    cells = make_cells({"Ours": (0.5, 0.75, 0.625), "Partial": (0.25, 0.375), "Full": (0.75, 0.8125, 0.8)})
    found = {(c.first, c.second): c for c in compare(cells, METRIC, SIZE)}
    assert set(found) == {("Ours", "Partial"), ("Partial", "Full")}
    assert found["Ours", "Partial"].seeds == (0, 1)
    assert found["Ours", "Partial"].test.mean == pytest.approx((0.25 + 0.375) / 2)
    assert found["Partial", "Full"].percent == 10
    assert found["Partial", "Full"].test.mean == pytest.approx((-0.5 - 0.4375) / 2)


def test_other_fractions_are_not_paired(make_cells: Make) -> None:
    cells = make_cells({"Ours": (0.5, 0.6)}) + make_cells({"Partial": (0.4, 0.5)}, labeled_percent=20)
    assert compare(cells, METRIC, SIZE) == []


def test_every_pair_of_interest_is_compared(make_cells: Make) -> None:
    arms = {arm for pair in PAIRS for arm in pair}
    rng = np.random.default_rng(0)
    cells = make_cells({arm: tuple(rng.uniform(0.2, 0.8, 3)) for arm in sorted(arms)})
    found = compare(cells, METRIC, SIZE)
    assert [(c.first, c.second) for c in found] == list(PAIRS)
    assert [c.holm_p for c in found] == holm([c.test.t_p for c in found])


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ((0.50, 0.52, 0.54), "stands"),
        ((0.30, 0.50, 0.45), "does not stand"),
        ((0.50,), "no test is possible (n = 1)"),
    ],
)
def test_verdict(make_cells: Make, scores: tuple[float, ...], verdict: str) -> None:
    cells = make_cells({"Ours": scores, "Partial": (0.30, 0.323, 0.339)})
    (comparison,) = compare(cells, METRIC, SIZE)
    assert comparison.verdict == verdict


def _first_table(cells: list[Cell]) -> str:
    results = Results(cells)
    return comparison_tables(results, compare_all(results))[0].markdown()


def test_table_says_what_a_test_of_three_seeds_cannot_give(make_cells: Make) -> None:
    text = _first_table(make_cells({"Ours": (0.50, 0.52, 0.54), "Partial": (0.30, 0.32, 0.33)}))
    assert "Ours minus Partial, 10 %" in text
    assert "With n = 3 the smallest p that the sign-flip test can give is 0.25, so it cannot fall below 0.05" in text
    assert "cannot be tested" not in text
    assert "do not share" not in text


def test_table_says_that_one_seed_is_too_few(make_cells: Make) -> None:
    text = _first_table(make_cells({"Ours": (0.5,), "Partial": (0.3,)}))
    assert "| no test is possible (n = 1) |" in text
    assert "fewer than two common seeds cannot be tested" in text
    assert "sign-flip test can give" not in text


def test_unequal_updates_are_told(make_cells: Make) -> None:
    cells = make_cells({"Ours": (0.5, 0.6)}) + make_cells({"Partial": (0.3, 0.4)}, updates=700)
    assert "do not share one number of updates: 700 (Partial), 600 (Ours)" in _first_table(cells)


def test_both_variants_and_sizes_are_in_the_tidy_table(make_cells: Make) -> None:
    results = Results(make_cells({"Ours": (0.5, 0.6), "Partial": (0.3, 0.45)}))
    frame = tidy_comparisons(compare_all(results))
    assert len(frame) == 6
    assert set(zip(frame["metric"], frame["size"], strict=True)) == {
        (metric, size)
        for metric in ("miou", "foreground_miou", "mean_foreground_dice")
        for size in ("native", "training_size")
    }
    assert [table.title for table in comparison_tables(results, compare_all(results))] == [
        "ACDC: mIoU of 3 foreground classes, at training size (the paper's)",
        "ACDC: mIoU of all 4 classes, at native size (the standard)",
    ]


def test_a_class_that_never_occurs_is_not_compared(make_cells: Make) -> None:
    cells = make_cells({"Ours": (0.5, 0.6), "Partial": (0.3, 0.4)}, class_iou={"sky": None})
    found: list[Comparison] = compare(cells, "iou_sky", SIZE)
    assert found == []
