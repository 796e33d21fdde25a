"""Small files to test the data room on."""

from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

WriteVolume = Callable[..., Path]


@pytest.fixture
def write_volume(tmp_path: Path) -> WriteVolume:
    """Write an array as NIfTI under ``tmp_path``, with an affine of spacing only, as ACDC's, or with the one given."""

    def write(
        name: str,
        array: np.ndarray,
        spacing: Sequence[float] = (1.5, 1.5, 8.0),
        affine: np.ndarray | None = None,
    ) -> Path:
        if affine is None:
            affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, affine), path)
        return path

    return write
