"""What a report says, and that it keeps to its schema."""

import json
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from phantom_report import HARD, NOTE, WARNING, phantom_findings, phantom_labels, phantom_study
from running import ROOT

from scripts.clinical.report import Findings, phase_times_ms, plain, report_content
from scripts.clinical.structures import Structures
from scripts.clinical.wall_thickness import WallThickness
from scripts.data.cine import Body

SCHEMA = json.loads((ROOT / "docs" / "report_schema.json").read_text(encoding="utf-8"))


def written(findings: Findings) -> dict[str, Any]:
    """The content as it comes back from a strict JSON file."""
    content = report_content(findings) | {"files": {"segmentation.nii.gz": "ab" * 32}}
    return json.loads(json.dumps(content, allow_nan=False))


def is_valid(content: dict[str, Any]) -> bool:
    return Draft202012Validator(SCHEMA).is_valid(content)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("study", "changes"),
    [
        ({}, {}),
        ({}, {"flags": (HARD, WARNING)}),
        ({}, {"flags": (HARD,), "analysis": None, "wall": None, "confidence": None}),
        ({"times_ms": None, "heart_rate": None, "body": Body(), "source": "NIfTI", "repairs": ()}, {}),
        ({"body": Body(1.8, 81.0, "F")}, {"flags": ()}),
        ({}, {"wall": None, "confidence": None}),
        ({}, {"wall": WallThickness(reason="the ring is open")}),
        ({}, {"confidence": {"lv": [np.nan, 0.5]}}),
        ({"phi": {"PatientName": "A^B"}}, {"include_phi": True}),
    ],
)
def test_every_report_keeps_to_the_schema(study: dict[str, Any], changes: dict[str, Any]) -> None:
    Draft202012Validator(SCHEMA).validate(written(phantom_findings(phantom_study(**study), **changes)))


def test_the_schema_refuses_numbers_beside_a_hard_flag() -> None:
    measured, failed = written(phantom_findings()), written(phantom_findings(flags=(HARD,)))
    assert is_valid(measured)
    assert is_valid(failed)
    assert not is_valid(measured | {"flags": failed["flags"]})
    for key in ("phases", "measurements", "volumes", "wall_thickness", "confidence"):
        assert not is_valid(failed | {key: measured[key]}), key
    assert not is_valid(failed | {"flags": []})


def test_numbers_are_those_of_the_analysis_and_phases_count_from_one() -> None:
    findings = phantom_findings()
    analysis, content = findings.analysis, written(findings)
    assert analysis is not None
    values = {m["key"]: (m["value"], m["unit"]) for m in content["measurements"]}
    assert values["lv_edv_ml"] == (pytest.approx(max(analysis.lv_ml), abs=1e-4), "mL")
    assert values["lv_ef_percent"] == (
        pytest.approx(100 * (1 - min(analysis.lv_ml) / max(analysis.lv_ml)), abs=1e-4),
        "%",
    )
    assert content["phases"]["ed"] == int(np.argmax(analysis.lv_ml)) + 1
    assert content["phases"]["es"] == int(np.argmin(analysis.lv_ml)) + 1
    assert [row["phase"] for row in content["volumes"]] == list(range(1, 8))
    assert [row["time_ms"] for row in content["volumes"]] == [120.0 * n + 2 for n in range(7)]
    assert [(f["severity"], f["phase"], f["slice"]) for f in content["flags"]] == [
        ("warning", 1, 3),
        ("note", None, None),
    ]
    assert content["flags"][1]["reason"] == NOTE.reason
    assert content["model"]["file"] == "model.pt"
    assert content["wall_thickness"]["segments"][2]["name"] == "basal inferoseptal"


def test_ranges_are_of_the_sex_and_none_without_it() -> None:
    def lows(sex: str | None) -> list[float]:
        content = written(phantom_findings(phantom_study(body=Body(1.8, 81.0, sex))))
        return [m["reference"]["low"] for m in content["measurements"] if m["reference"]]

    assert lows("M") != lows("F")
    assert len(lows("M")) == len(lows("F")) > 0
    assert lows(None) == []


def test_after_a_hard_flag_the_content_does_not_depend_on_what_was_measured() -> None:
    nothing = phantom_findings(flags=(HARD, WARNING), analysis=None, wall=None, confidence=None)
    assert written(phantom_findings(flags=(HARD, WARNING))) == written(nothing)


@pytest.mark.parametrize("asked", [False, True])
def test_the_patient_is_named_only_if_asked_for(asked: bool) -> None:
    study = phantom_study(phi={"PatientName": "Planted^Name"})
    text = json.dumps(written(phantom_findings(study, include_phi=asked)))
    assert ("Planted^Name" in text) is asked


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": phantom_labels()[:2]}, "Expected labels uint8"),
        ({"labels": phantom_labels().astype(np.int16)}, "got int16"),
        ({"analysis": None}, "no flag is hard"),
    ],
)
def test_findings_that_do_not_belong_together_are_refused(changes: dict[str, Any], said: str) -> None:
    known = vars(phantom_findings())
    with pytest.raises(ValueError, match=said):
        Findings(**(known | changes))


@pytest.mark.parametrize(
    ("given", "flags", "shown"),
    [
        ({}, (), {"ED": 0, "ES": 2}),
        ({}, (HARD,), {"phase 1": 0}),
        ({"ED": 1, "ES": 4}, (HARD,), {"ED": 1, "ES": 4}),
        ({"ES": 4}, (HARD,), {"ES": 4}),
    ],
)
def test_shown_are_ed_and_es_or_what_the_study_names(
    given: dict[str, int], flags: tuple, shown: dict[str, int]
) -> None:
    findings = phantom_findings(phantom_study(given_phases=given), flags=flags)
    assert findings.without_numbers_if_failed().shown_phases() == shown


def test_a_phase_without_time_leaves_all_unknown() -> None:
    times = np.arange(35.0).reshape(7, 5)
    assert phase_times_ms(phantom_study(times_ms=times)) == [2.0 + 5 * n for n in range(7)]
    times[3, 1] = np.nan
    assert phase_times_ms(phantom_study(times_ms=times)) is None


def test_what_json_does_not_know_is_null() -> None:
    known = plain({"a": (np.float32(0.5), float("nan"), np.inf), 2: np.int64(3)})
    assert known == {"a": [0.5, None, None], "2": 3}


def test_label_values_are_those_of_the_model() -> None:
    known = vars(phantom_findings()) | {"structures": Structures(rv=3, myocardium=1, lv=2)}
    assert written(Findings(**known))["labels"] == {"background": 0, "rv": 3, "myocardium": 1, "lv": 2}
