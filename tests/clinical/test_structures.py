"""Which label is which structure, by the names of the classes."""

import pytest

from scripts.clinical.structures import Structures
from scripts.data.acdc import CLASS_NAMES
from scripts.errors import InputError


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (CLASS_NAMES, Structures(rv=1, myocardium=2, lv=3)),
        (("background", "LV", "LV_myocardium", "RV"), Structures(rv=3, myocardium=2, lv=1)),
        (
            {"Right Ventricle  Cavity": 5, "MYO": 7, "left ventricle": 9, "aorta": 1},
            Structures(rv=5, myocardium=7, lv=9),
        ),
    ],
)
def test_structures_are_found_by_their_names(names: object, expected: Structures) -> None:
    assert Structures.from_names(names) == expected


def test_items_name_the_label_values() -> None:
    assert Structures(rv=4, myocardium=2, lv=1).items() == {"rv": 4, "myocardium": 2, "lv": 1}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("background", "liver", "spleen"), "right ventricle cavity was looked for.*none"),
        (("background", "rv", "myocardium", "lv", "lv cavity"), "lv and lv cavity both mean it"),
        (("background", "rv", "lv"), "myocardium was looked for"),
        (("rv", "rv", "myo", "lv"), "not different"),
        ({"rv": 1, "myo": 1, "lv": 2}, "three different label values"),
        ({"rv": 0, "myo": 1, "lv": 2}, "from 1 to 254"),
        ({"rv": 3, "myo": 1, "lv": 255}, "from 1 to 254"),
    ],
)
def test_other_names_and_values_are_refused(names: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Structures.from_names(names)
