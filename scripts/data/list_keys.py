"""What a data list may say beside its items: class names, colours, sizes, each checked."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.labels import VOID


def class_names(data_list: Mapping[str, Any], num_classes: int) -> list[str]:
    """Names of the classes 0 to num_classes - 1 of a data list.

    Raises:
        InputError: it names more or fewer.
    """
    names = list(data_list["labels"].values())
    if len(names) != num_classes:
        raise InputError(
            f"the data list {data_list.get('name', '')} names {len(names)} classes ({', '.join(names[:6])}"
            f"{', ...' if len(names) > 6 else ''}) and num_classes is {num_classes}: correct 'labels' in the list, or choose the "
            "overlay (configs/data_*.json) and num_classes that go with it."
        )
    return names


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _classes(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {str(index) for index in range(len(value))} and len(value) > 1


def _colors(value: Any) -> bool:
    return isinstance(value, dict) and all(
        key.isdecimal() and isinstance(color, list) and len(color) == 3 and all(_whole(part, 0, 255) for part in color)
        for key, color in value.items()
    )


def _label_map(value: Any) -> bool:
    return isinstance(value, dict) and all(
        key.isdecimal() and int(key) <= VOID and _whole(target, 0, VOID) for key, target in value.items()
    )


def _pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


KEYS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda v: isinstance(v, str), "text"),
    "licence": (lambda v: isinstance(v, str), "text"),
    "description": (lambda v: isinstance(v, str), "text"),
    "labels": (
        lambda v: _classes(v) and all(isinstance(name, str) for name in v.values()),
        'class names by class, {"0": name, "1": name, ...}',
    ),
    "colors": (_colors, 'colours by class, {"0": [red, green, blue], ...}, 0 to 255'),
    "label_map": (_label_map, 'what values in label files mean, {"value": class, ...}, both in 0 to 255'),
    "background": (lambda v: isinstance(v, bool), "true or false"),
    "structures": (
        lambda v: isinstance(v, dict) and all(_whole(part, 0, VOID) for part in v.values()),
        "label values by name",
    ),
    "channels": (lambda v: v in (1, 3), "1 or 3"),
    "dimensions": (lambda v: v in (2, 3), "2 or 3"),
    "size": (lambda v: _pair(v) and all(_whole(part, 1, 2**16) for part in v), "two whole numbers of pixels"),
    "spacing": (
        lambda v: v is None or (_pair(v) and all(isinstance(part, int | float) and part > 0 for part in v)),
        "two positive numbers (mm), or null",
    ),
}
"""Optional keys of a data list: whether a value is right, and what is expected, for the message."""


def check_keys(data_list: Mapping[str, Any], path: Path) -> None:
    """Refuse a wrong value of an optional key of the data list read from ``path``.

    Raises:
        InputError: naming the key, what came and what is expected.
    """
    for key, (right, expected) in KEYS.items():
        if key in data_list and not right(data_list[key]):
            raise InputError(f"'{key}' of data list {path} is {json.dumps(data_list[key])[:200]}, expected {expected}.")
    classes = len(data_list["labels"]) if "labels" in data_list else VOID
    beyond = [value for value in data_list.get("label_map", {}).values() if classes <= value < VOID]
    if beyond:
        raise InputError(
            f"'label_map' of data list {path} names class {beyond[0]}, but 'labels' has classes 0 to {classes - 1} only: "
            "add it there, or map the value to another class."
        )
