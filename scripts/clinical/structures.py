"""Which label value is which part of the heart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from scripts.data.acdc import CLASS_NAMES
from scripts.errors import InputError

KNOWN_NAMES = {
    "rv": (CLASS_NAMES[1], "right ventricle", "right ventricular cavity", "rv cavity", "rv"),
    "myocardium": (CLASS_NAMES[2], "left ventricular myocardium", "lv myocardium", "myocardium", "myo"),
    "lv": (CLASS_NAMES[3], "left ventricle", "left ventricular cavity", "lv cavity", "lv"),
}
"""What each structure may be called, in lower case; first ACDC's name."""


@dataclass(frozen=True)
class Structures:
    """Label values of the right ventricle's cavity, the left ventricle's myocardium and its cavity.

    Raises:
        InputError: two structures with one value, or a value outside 1 to 254 (0 is background, 255 void).
    """

    rv: int
    myocardium: int
    lv: int

    def __post_init__(self) -> None:
        values = [getattr(self, field.name) for field in fields(self)]
        if len(set(values)) < len(values) or not all(0 < value < 255 for value in values):
            raise InputError(
                f"the heart's three structures need three different label values from 1 to 254, got {self}: correct the "
                "class names of the model card."
            )

    @classmethod
    def from_names(cls, names: Sequence[str] | Mapping[str, int]) -> "Structures":
        """Find the structures among class names, whatever their case.

        Args:
            names: of the classes 0 (background), 1, 2, ..., as a model card has them, or the label value of each name.

        Raises:
            InputError: a structure is not among the names, or more than once.
        """
        values = names if isinstance(names, Mapping) else {name: value for value, name in enumerate(names)}
        if len(values) < len(names):
            raise InputError(f"the class names {', '.join(names)} are not different: correct them in the model card.")
        return cls(**{structure: _value(structure, values) for structure in KNOWN_NAMES})

    def items(self) -> dict[str, int]:
        """Label value by structure: "rv", "myocardium", "lv"."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _value(structure: str, values: Mapping[str, int]) -> int:
    found = [name for name in values if " ".join(name.lower().replace("_", " ").split()) in KNOWN_NAMES[structure]]
    if len(found) != 1:
        came = f"{' and '.join(found)} both mean it" if found else "none of them is one of these"
        raise InputError(
            f"the heart's {KNOWN_NAMES[structure][0]} was looked for among the classes {', '.join(values)} by the names "
            f"{', '.join(KNOWN_NAMES[structure])}, and {came}: give a model of the heart's short axis, or name its "
            "classes so in the model card."
        )
    return int(values[found[0]])
