"""The phantom's DICOM study in tests: what is changed in it, and whether it was read right."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.config import disable_value_validation

from scripts.clinical.expert_contours import mask_of, read_outlines
from scripts.data.cine import CineStudy
from scripts.data.dicom_phantom import dicom_phantom_images, dicom_phantom_truth

SHORT_AXIS = 5
"""SeriesNumber of the phantom's short axis."""


def short_axis_files(study: Path) -> Iterator[tuple[Path, pydicom.Dataset]]:
    for path in sorted(path for path in study.rglob("*") if path.is_file()):
        dataset = pydicom.dcmread(path)
        if dataset.SeriesNumber == SHORT_AXIS:
            yield path, dataset


def expert_labels(contours: Path, study: CineStudy) -> NDArray[np.uint8]:
    """Sunnybrook's contours as masks (P, x, y, S) at ED and ES; the experts drew no other phase, so there it is the larger one
    without its base."""
    labels = np.zeros(study.images.shape, np.uint8)
    outlines = read_outlines(contours, study)
    for kind, value in (("epicardium", 2), ("endocardium", 3)):  # the cavity is drawn over the wall
        for phase, of_phase in outlines[kind].items():
            labels[phase][mask_of(of_phase, labels.shape[1:])] = value
    for phase in set(range(len(labels))) - {6, 19}:
        labels[phase] = labels[19]
        labels[phase][..., 0] = 0
    return labels


def change(study: Path, edit: Callable[[pydicom.Dataset], object], only: int | None = None) -> None:
    """Edit the first ``only`` files of the short axis, or all."""
    for path, dataset in list(short_axis_files(study))[:only]:
        with disable_value_validation():  # some edits are what the standard forbids
            edit(dataset)
            dataset.save_as(path)


def assert_is_phantom(study: CineStudy, **options: bool) -> None:
    np.testing.assert_array_equal(study.images, dicom_phantom_images(smallest=True))
    np.testing.assert_allclose(study.affine, dicom_phantom_truth(smallest=True, **options)[1], atol=1e-4)
    assert study.images.dtype == np.float32
