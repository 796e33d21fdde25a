"""The report as one HTML page that needs no other file, for the eyes of a cardiologist, on screen and on paper."""

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from scripts.clinical.report import Findings
from scripts.clinical.report_charts import THICKNESS_MM, bullseye, curve, thickness_color
from scripts.clinical.report_pictures import STRUCTURE_COLORS, Overlays, overlays

TEMPLATES = Path(__file__).with_name("templates")
UNITS = {"1/min": "beats/min", "mL/m2": "mL/m²", "g/m2": "g/m²", "L/min/m2": "L/min/m²", "m2": "m²"}
KEYS = {"rv": "right ventricle, cavity", "myocardium": "left ventricle, myocardium", "lv": "left ventricle, cavity"}
TABLES = {"Left ventricle": "lv_", "Right ventricle": "rv_", "Circulation": ""}
CHOSEN_BY = {
    "curve": "from the left ventricle's volume curve",
    "study": "as the study names it",
    "user": "by the user",
}
SCALE_STEPS = 40


@dataclass(frozen=True)
class _Cell:
    """A value as it is read: three digits, its unit, the normal range with the mark of its source."""

    value: str
    unit: str
    range: str = ""
    source: str = ""
    position: str = "within"


def html(content: Mapping[str, Any], findings: Findings) -> str:
    """The page.

    Args:
        content: of ``report.json``, with its ``files``; every number and word on the page comes from it.
        findings: what it was made of; images and labels are drawn from it, nothing else is read.
    """
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    severities = ("hard", "warning", "note")
    values = {
        "report": content,
        "script": Markup(script),
        "script_hash": f"sha256-{digest}",
        "facts": _facts(content),
        "flags": {kind: [f for f in content["flags"] if f["severity"] == kind] for kind in severities},
        "keys": [(KEYS[name], color) for name, color in STRUCTURE_COLORS.items()],
        "colors": STRUCTURE_COLORS,
        "origin": _origin(content),
        **_slices(findings.without_numbers_if_failed()),
        **(_numbers(content) if content["numbers_given"] else {}),
    }
    return _environment().get_template("report.html.j2").render(values)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def three_digits(value: float) -> str:
    """Three significant digits, but never less than whole numbers: 7.21, 49.8, 230, 1234."""
    decimals = 2 if value == 0 else min(2, max(0, 2 - math.floor(math.log10(abs(value)))))
    return f"{value:.{decimals}f}"


def _facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of the study, in words."""
    study, phases = content["study"], content["phases"]
    dx, dy = study["pixel_spacing_mm"]
    facts = [
        ("Study", f"{study['source']}, {study['slices']} slices x {study['phases']} phases"),
        ("Voxel", f"{dx:.3g} x {dy:.3g} mm, slices {study['slice_distance_mm']:.3g} mm apart"),
        ("Sex", {"M": "male", "F": "female"}.get(study["sex"], "not known")),
    ]
    for name, key, unit in (
        ("Height", "height_m", "m"),
        ("Weight", "weight_kg", "kg"),
        ("Heart rate", "heart_rate_per_min", "beats/min"),
    ):
        if study[key] is not None:
            facts.append((name, f"{three_digits(study[key])} {unit}"))
    if phases is not None:
        facts.append(("End-diastole", f"phase {phases['ed']}"))
        facts.append(("End-systole", f"phase {phases['es']}"))
    return facts


def _numbers(content: Mapping[str, Any]) -> dict[str, Any]:
    """Tables, charts and their words."""
    volumes, phases = content["volumes"], content["phases"]
    lines = {name: [row[f"{name}_ml"] for row in volumes] for name in ("lv", "rv")}
    times = [row["time_ms"] for row in volumes]
    marked = {"ED": phases["ed"] - 1, "ES": phases["es"] - 1}
    wall = content["wall_thickness"]
    measured = wall is not None and not wall["reason"]
    low, high = THICKNESS_MM
    return {
        **_tables(content),
        "curve": curve(lines, None if None in times else times, marked),
        "phases_text": _phases_text(phases),
        "bullseye": bullseye([s["thickness_mm"] for s in wall["segments"]]) if wall is not None and measured else (),
        "scale_mm": THICKNESS_MM,
        "scale_colors": [thickness_color(low + (high - low) * n / (SCALE_STEPS - 1))[0] for n in range(SCALE_STEPS)],
    }


def _phases_text(phases: Mapping[str, Any]) -> str:
    ed, es = CHOSEN_BY[phases["ed_chosen_by"]], CHOSEN_BY[phases["es_chosen_by"]]
    if ed == es:
        return f"End-diastole (ED) and end-systole (ES) were chosen {ed}."
    return f"End-diastole (ED) was chosen {ed}, end-systole (ES) {es}."


def _tables(content: Mapping[str, Any]) -> dict[str, Any]:
    """The known values by ventricle, each beside the same by body surface; what is missing in words; the sources."""
    known = {m["key"]: m for m in content["measurements"] if m["value"] is not None}
    sources: dict[str, str] = {}
    left = {key: m for key, m in known.items() if key == "body_surface_m2" or not key.endswith("_m2")}
    tables = []
    for title, prefix in TABLES.items():
        keys = [key for key in left if key.startswith(prefix)]
        rows = [{"name": _sentence(left.pop(key)["name"]), "cells": _cells(key, known, sources)} for key in keys]
        if rows:
            tables.append({"title": title, "rows": rows})
    lacking = [m["name"] for m in content["measurements"] if m["value"] is None and not m["key"].endswith("_m2")]
    remarks = ["The right ventricle is measured at the left one's end-diastole and end-systole."]
    if "body_surface_m2" not in known:
        lacking = [name for name in lacking if "surface" not in name]
        remarks.append("Nothing is given by body surface: the study does not say height and weight.")
    if lacking:
        remarks.append(f"Not known: {', '.join(lacking)}.")
    if not sources:
        sexless = content["study"]["sex"] is None
        remarks.append(f"No normal ranges are given{': they differ by sex, which the study does not say' * sexless}.")
    return {
        "tables": tables,
        "remarks": remarks,
        "sources": [{"text": text, "mark": mark} for text, mark in sources.items()],
    }


def _cells(key: str, known: Mapping[str, Mapping[str, Any]], sources: dict[str, str]) -> list[_Cell | None]:
    return [_cell(known[k], sources) if k in known else None for k in (key, f"{key}_m2")]


def _cell(measurement: Mapping[str, Any], sources: dict[str, str]) -> _Cell:
    value, unit = three_digits(measurement["value"]), UNITS.get(measurement["unit"], measurement["unit"])
    reference = measurement["reference"]
    if reference is None:
        return _Cell(value, unit)
    sex = {"M": "Men", "F": "Women"}[reference["sex"]]
    text = (
        f"{sex}: {reference['population']}; {reference['technique']}. {reference['source']}, doi {reference['doi']}. The "
        f"range was {reference['evidence']}."
    )
    mark = sources.setdefault(text, "abcdefghijkl"[len(sources)])
    limits = f"{reference['low']:g} to {reference['high']:g}"
    return _Cell(value, unit, limits, mark, reference["position"])


def _sentence(name: str) -> str:
    return name[:1].upper() + name[1:]


def _slices(findings: Findings) -> dict[str, Any]:
    """The pictures of the shown phases, and what is written on and above them."""
    study, shown = findings.study, findings.shown_phases()
    phases = list(shown.values())
    trusted = study.affine if study.source == "DICOM" else None  # the affines of other files carry spacing at most
    pictures = overlays(study.images[phases], findings.labels[phases], study.spacing, findings.structures, trusted)
    named = [name if name.startswith("phase") else f"{name}, phase {phase + 1}" for name, phase in shown.items()]
    text = "Outlines run between the voxels inside and outside of a structure; proportions are true."
    if findings.analysis is None:
        text = f"The segmentation as it came out, to see what is wrong with it. {text}"
    return {"overlays": pictures, "titles": named, "letters": _letters(pictures), "slices_text": text}


def _letters(pictures: Overlays) -> list[dict[str, Any]]:
    """Where the letters of the patient's directions stand in a picture, mm."""
    if pictures.directions is None:
        return []
    width, height = pictures.width_mm, pictures.height_mm
    size = round(0.05 * min(width, height), 2)
    places = {
        "left": (0.4 * size, height / 2, "start"),
        "right": (width - 0.4 * size, height / 2, "end"),
        "upper": (width / 2, 1.2 * size, "middle"),
        "lower": (width / 2, height - 0.5 * size, "middle"),
    }
    return [
        {"x": round(x, 2), "y": round(y, 2), "anchor": anchor, "size": size, "text": pictures.directions[edge]}
        for edge, (x, y, anchor) in places.items()
    ]


def _origin(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Model, software and run, in rows."""
    model = content["model"]
    rows = [("Model file", model["file"]), ("Model file, SHA-256", model["weights_sha256"])]
    rows += [(_sentence(str(name).replace("_", " ")), _words(value)) for name, value in model["card"].items()]
    rows.append(("Bundle version", content["bundle_version"]))
    rows += [(name, version) for name, version in content["software"].items()]
    device, seconds = content["device"], content["seconds"]
    return [*rows, ("Computed", f"on {device}" + ("" if seconds is None else f" in {seconds:.1f} s"))]


def _words(value: Any) -> str:
    if value is None:
        return "not known"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(each)}" for name, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_words(each) for each in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
