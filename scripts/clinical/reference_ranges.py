"""Reference ranges of healthy adults by sex, with their source, read from ``reference_ranges.csv``.

A range stands there only where it could be read somewhere; each says where (``EVIDENCE``), and a report must say it too.
Left out, because they could be read nowhere: the absolute LV mass, the cardiac output, and every range by age.
"""

import csv
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("reference_ranges.csv")
SEXES = ("F", "M")


@dataclass(frozen=True)
class Source:
    """A publication: how to cite it, whom it measured and how."""

    citation: str
    doi: str
    population: str
    technique: str


SOURCES = {
    "zhan2024": Source(
        citation="Zhan et al., Meta-analysis of normal reference values for right and left ventricular quantification by "
        "cardiovascular magnetic resonance. Circ Cardiovasc Imaging 17:e016090, 2024",
        doi="10.1161/CIRCIMAGING.123.016090",
        population="healthy adults of 25 countries, 52 studies pooled; lower and upper reference values",
        technique="short-axis steady-state free precession at 1.5 and 3 T, papillary muscles in the LV volume",
    ),
    "petersen2017": Source(
        citation="Petersen et al., Reference ranges for cardiac structure and function using cardiovascular magnetic "
        "resonance (CMR) in Caucasians from the UK Biobank population cohort. J Cardiovasc Magn Reson 19:18, 2017",
        doi="10.1186/s12968-017-0327-9",
        population="804 healthy Caucasian adults aged 45 to 74; limits beyond which a value is abnormal at any of these ages",
        technique="short-axis steady-state free precession at 1.5 T, papillary muscles in the LV volume",
    ),
}
EVIDENCE = {
    "abstract": "read in the publication's own abstract",
    "transcription": "read in public transcriptions of the publication's tables, which agree where they overlap, not in "
    "the tables themselves: compare with the publication before relying on it",
}


@dataclass(frozen=True)
class ReferenceRange:
    """What is normal: ``lower`` to ``upper`` in ``unit``; ``source`` is a key of SOURCES, ``evidence`` of EVIDENCE."""

    key: str
    sex: str
    lower: float
    upper: float
    unit: str
    source: str
    evidence: str

    def position(self, value: float) -> str:
        """ "below", "within" or "above"; the limits themselves are within."""
        if value < self.lower:
            return "below"
        return "above" if value > self.upper else "within"


def reference_range(key: str, sex: str | None, evidence: Collection[str] = tuple(EVIDENCE)) -> ReferenceRange | None:
    """The range of one quantity, or None if there is none.

    Args:
        key: of ``scripts.clinical.function.Row``.
        sex: "M" or "F"; None or anything else has no range, since all of them differ by sex.
        evidence: the kinds of evidence that are enough.
    """
    found = read_table(TABLE).get((key, sex or ""))
    return found if found is not None and found.evidence in evidence else None


@cache
def read_table(path: Path) -> dict[tuple[str, str], ReferenceRange]:
    """Ranges by key and sex from a CSV file with the fields of ``ReferenceRange`` as columns.

    Raises:
        ValueError: a row given twice, of unknown sex, source or evidence, or with limits in the wrong order.
    """
    table: dict[tuple[str, str], ReferenceRange] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            entry = ReferenceRange(**{**row, "lower": float(row["lower"]), "upper": float(row["upper"])})  # type: ignore[arg-type]
            known = entry.sex in SEXES and entry.source in SOURCES and entry.evidence in EVIDENCE
            if not known or entry.lower >= entry.upper or (entry.key, entry.sex) in table:
                raise ValueError(f"{path.name} has an unusable row: {entry}.")
            table[entry.key, entry.sex] = entry
    return table
