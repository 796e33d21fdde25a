"""Does this installation work? A phantom study through every output, against its known truth.

    python -m scripts.clinical --self_test [--model models/model.pt]

Three things are tested: that studies are read and decoded (every transfer syntax), that true labels come out of every
output as they went in (volumes against the phantom's geometry), and that the model runs from the study to the report.
How well it segments a drawn heart is told, not judged. The exit code is 0 if all passed, else 1.
"""

import argparse
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import torch
from rich.console import Console
from rich.table import Table

from scripts import __version__
from scripts.clinical.function import CardiacFunction, measure
from scripts.clinical.measurement_object import QUANTITIES
from scripts.clinical.outputs import FILES, PRINT, write_outputs
from scripts.clinical.report import ACDC_STRUCTURES
from scripts.data.cine import CineStudy
from scripts.data.dicom.labels import read_labels
from scripts.data.dicom.reading import read_dicom
from scripts.data.dicom_phantom import (
    TRANSFER_SYNTAXES,
    dicom_phantom_images,
    dicom_phantom_truth,
    dicom_phantom_volumes,
    write_dicom_phantom,
)
from scripts.metrics import confusion_matrix, dice

VOLUME_TOLERANCE = 0.02
"""Of a volume, for counting voxels of the phantom's geometry."""
Check = tuple[str, bool, str]
"""What was tested, whether it passed, what came."""


def main(arguments: Sequence[str], default_model: Path, run: Callable[[Sequence[str]], int]) -> int:
    """Test, print the table; the exit code.

    Args:
        arguments: of the command line, ``--self_test`` among them.
        default_model: taken without ``--model``.
        run: the clinical command, from arguments to its exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m scripts.clinical", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--self_test", action="store_true", required=True)
    parser.add_argument("--model", type=Path, default=default_model, help="with its model.json beside it")
    options = parser.parse_args(arguments)
    logging.getLogger("scripts").setLevel(logging.ERROR)
    table, passed = Table("test", "", "result"), True
    with tempfile.TemporaryDirectory() as folder:
        for name, ok, result in checks(Path(folder), options.model, run):
            table.add_row(name, "ok" if ok else "FAILED", result)
            passed = passed and ok
    Console().print(table)
    print("All tests passed." if passed else "A test failed: this installation must not be used.")
    return 0 if passed else 1


def checks(folder: Path, model: Path, run: Callable[[Sequence[str]], int], smallest: bool = False) -> Iterator[Check]:
    """Each test in turn; one that breaks off fails with its error. ``smallest``: on the smallest study, in a tenth of the time,
    whose voxels are too coarse for the geometry's volumes."""
    for syntax in TRANSFER_SYNTAXES:
        yield _guarded(f"read and decode: {syntax}", partial(_decoded, folder / syntax, syntax))
    yield _guarded("read and decode: multi-frame", lambda: _decoded(folder / "enhanced", "explicit", enhanced=True))
    path = write_dicom_phantom(folder / "study", smallest=smallest)
    study, labels = read_dicom(path), dicom_phantom_truth(smallest=smallest)[0]
    function = measure(labels, study.spacing, ACDC_STRUCTURES, heart_rate_per_min=study.heart_rate)
    yield _guarded("volumes against the phantom's geometry", lambda: _volumes(function))
    out = folder / "report"
    yield _guarded("every output written", lambda: _written(out, study, labels, function))
    yield _guarded("masks (NIfTI) read back", lambda: _same_nifti(out, labels))
    yield _guarded("masks (DICOM SEG) read back", lambda: _same_segmentations(out, path, study, labels, function))
    yield _guarded("numbers (report.json, DICOM SR) read back", lambda: _same_numbers(out, function))
    yield _guarded("model, from study to report", lambda: _model_runs(folder / "by model", path, labels, model, run))


def _guarded(name: str, test: Callable[[], str]) -> Check:
    try:
        return name, True, test()
    except Exception as error:  # whatever is wrong with an installation
        return name, False, f"{type(error).__name__}: {error}"


def _decoded(folder: Path, syntax: str, enhanced: bool = False) -> str:
    study = read_dicom(write_dicom_phantom(folder, smallest=True, transfer_syntax=syntax, enhanced=enhanced))
    np.testing.assert_array_equal(study.images, dicom_phantom_images(smallest=True))
    return f"{study.images.shape[-1]} slices x {len(study.images)} phases, every pixel"


def _volumes(function: CardiacFunction) -> str:
    truth = dicom_phantom_volumes()
    expected = {"LV EDV": (function.lv_edv_ml, truth["lv"].max()), "LV ESV": (function.lv_esv_ml, truth["lv"].min())}
    expected["RV EDV"] = function.rv_edv_ml, truth["rv"][function.phases.ed]
    for name, (got, true) in expected.items():
        if abs(got - true) > VOLUME_TOLERANCE * true:
            raise ValueError(f"{name} is {got:.1f} mL, expected {true:.1f} mL within {VOLUME_TOLERANCE:.0%}")
    return ", ".join(f"{name} {got:.1f} mL (true {true:.1f})" for name, (got, true) in expected.items())


def _written(out: Path, study: CineStudy, labels: np.ndarray, function: CardiacFunction) -> str:
    about: Any = {
        "model_file": "none",
        "weights_sha256": "0" * 64,
        "model": {},
        "bundle_version": __version__,
        "software": {},
        "seconds": 0.0,
        "device": "cpu",
    }
    write_outputs(out, study, labels, None, function, (), None, about, dicom=True)
    expected = {*FILES, "dicom"} - {PRINT}
    written = {path.name for path in out.iterdir()}
    if written != expected:
        raise ValueError(f"expected {sorted(expected)}, came {sorted(written)}")
    return f"{sum(path.is_file() for path in out.rglob('*'))} files"


def _same_nifti(out: Path, labels: np.ndarray) -> str:
    volume = nib.load(out / "segmentation.nii.gz")
    np.testing.assert_array_equal(np.moveaxis(np.asarray(volume.dataobj), -1, 0), labels)  # type: ignore[attr-defined]
    return "every voxel of every phase"


def _same_segmentations(out: Path, path: Path, study: CineStudy, labels: np.ndarray, function: CardiacFunction) -> str:
    for name, phase in (("ed", function.phases.ed), ("es", function.phases.es)):
        copy = path.with_name(f"only {name}")
        copy.mkdir()
        shutil.copy(out / "dicom" / f"{name}.seg.dcm", copy)
        np.testing.assert_array_equal(read_labels(copy, study)[phase], labels[phase])
    return "every voxel of ED and ES"


def _same_numbers(out: Path, function: CardiacFunction) -> str:
    content = json.loads((out / "report.json").read_text(encoding="utf-8"))
    by_key = {row["key"]: row["value"] for row in content["measurements"]}
    reported = _numbers_of(pydicom.dcmread(out / "dicom" / "report.sr.dcm"))
    known = {key: getattr(function, key) for key in QUANTITIES if getattr(function, key) is not None}
    for key, value in known.items():
        np.testing.assert_allclose(by_key[key], value, rtol=1e-3, err_msg=key)
        nearest = min(reported[QUANTITIES[key][0].value], key=lambda number: abs(number - value))
        np.testing.assert_allclose(nearest, value, atol=0.006, err_msg=f"{key} in the structured report")
    return f"{len(known)} numbers"


def _numbers_of(report: pydicom.Dataset) -> dict[str, list[float]]:
    """Values in a structured report by the code of their name."""
    numbers: dict[str, list[float]] = {}
    for group in report.ContentSequence[-1].ContentSequence:
        for item in group.ContentSequence:
            if item.ValueType == "NUM":
                value = float(item.MeasuredValueSequence[0].NumericValue)
                numbers.setdefault(item.ConceptNameCodeSequence[0].CodeValue, []).append(value)
    return numbers


def _model_runs(out: Path, path: Path, labels: np.ndarray, model: Path, run: Callable[[Sequence[str]], int]) -> str:
    code = run([str(path), "--model", str(model), "--output_dir", str(out)])
    if code not in (0, 2):
        raise ValueError(f"ended with code {code}, expected 0 (numbers) or 2 (a hard check failed)")
    volume = nib.load(out / "segmentation.nii.gz")
    found = np.moveaxis(np.asarray(volume.dataobj), -1, 0)  # type: ignore[attr-defined]
    by_value = dice(confusion_matrix(torch.from_numpy(found).long(), torch.from_numpy(labels).long(), 4))
    scores = [f"{name} {by_value[value]:.3f}" for name, value in ACDC_STRUCTURES.items().items()]
    given = "numbers given" if code == 0 else "no numbers: a hard check failed"
    return f"{given}; Dice on the phantom: {', '.join(scores)} (told, not judged)"
