"""The study in memory: distances from the affine, body surface, nothing identifying in its text."""

import numpy as np
import pytest

from scripts.data.cine import Body, CineStudy, plane_spacing


@pytest.mark.parametrize(
    ("column", "row", "step", "expected"),
    [
        ((1.5, 0, 0), (0, 2, 0), (0, 0, 8), (1.5, 2, 8)),
        ((0, -1.5, 0), (0, 0, 2), (9, 0, 0), (1.5, 2, 9)),
        ((1.5, 0, 0), (0, 2, 0), (3, 0, 8), (1.5, 2, 8)),  # slices shifted sideways: the planes are 8 mm apart
    ],
)
def test_spacing_is_distance_of_planes(column, row, step, expected):
    affine = np.eye(4)
    affine[:3, :3] = np.transpose([column, row, step])
    assert plane_spacing(affine) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("height", "weight", "surface"), [(1.8, 80.0, 2.0), (1.6, 90.0, 2.0), (None, 80.0, None), (1.8, None, None)]
)
def test_body_surface(height, weight, surface):
    assert Body(height, weight).bsa_m2 == (None if surface is None else pytest.approx(surface))


def test_text_of_a_study_identifies_nobody():
    phi = {"PatientName": "Somebody^Secret"}
    study = CineStudy(np.zeros((2, 4, 4, 5), np.float32), np.eye(4), None, None, Body(), "DICOM", phi=phi)
    assert "ecret" not in f"{study} {study!r}"
