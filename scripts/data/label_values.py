"""What the values in label files mean."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from scripts.data.cityscapes import check_label_ids
from scripts.errors import InputError
from scripts.labels import VOID


def mapped(
    values: NDArray, num_classes: int, label_map: Mapping[str, int] | None = None, path: str = "a label"
) -> NDArray[np.uint8]:
    """Turn the values of a label file into classes.

    Args:
        values: of any shape and type.
        num_classes: K.
        label_map: {"value in the file": class}, as in a data list; all other values are void. None: values are classes.
        path: of the file, for messages.

    Returns:
        uint8 of the same shape, in [0, K), or 255 = void.

    Raises:
        InputError: a value that is no class, no key of the map and not 255; or a file that is mapped already.
    """
    with np.errstate(invalid="ignore"):  # NaN becomes a whole number that it is not equal to
        whole = values.astype(np.uint8)
    if values.dtype != np.uint8 and (whole != values).any():
        raise _not_classes(np.unique(values[whole != values]), num_classes, path)
    present = np.flatnonzero(np.bincount(whole.ravel(), minlength=VOID + 1)).tolist()
    if label_map:
        check_label_ids(present, path, label_map)
    table = np.full(VOID + 1, VOID, np.uint8)
    for value in present:
        table[value] = label_map.get(str(value), VOID) if label_map else value
    wrong = [value for value in present if table[value] != VOID and table[value] >= num_classes]
    if wrong:
        raise _not_classes(wrong, num_classes, path)
    return table[whole] if label_map else whole


def _not_classes(values: NDArray | list[int], num_classes: int, path: str) -> InputError:
    return InputError(
        f"{path} has the label values {', '.join(f'{value:g}' for value in values[:8])}, expected 0 to {num_classes - 1} or "
        f"{VOID} (void): map the labels (label_map in a data list), or set num_classes."
    )
