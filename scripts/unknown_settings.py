"""Settings that nothing would read."""

import json
from collections.abc import Iterator, Mapping, Set
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from monai.bundle import ReferenceResolver

from scripts.configuration import executing_parser
from scripts.errors import InputError

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
SECTIONS = ("train", "validate")
"""Keys of ``train.json`` that hold what others read, rather than the arguments of a component."""


def refuse_unknown_settings(config: str) -> None:
    """Refuse a misspelt setting, which MONAI takes for a new key of the config being evaluated, and nothing reads.

    Looked at are plain values at the top level and in ``SECTIONS``: numbers, text, lists of numbers. One is known if ``config``
    has it, or something refers to it by "@", as overlays do to what they add; or if its name begins with "_", as of a comment.
    What is within a component is left to the component.

    Args:
        config: name of the file in ``configs`` that the workflow is made of, before overlays and command line.

    Raises:
        InputError: for the first value that is not known.
    """
    ours = _settings(json.loads((CONFIGS / config).read_text(encoding="utf-8")))
    evaluated = executing_parser().get()
    referred = {id for text in _texts(evaluated) for id in ReferenceResolver.match_refs_pattern(text)}
    read = ours.keys() | {"#".join(id.split("::")[:depth]) for id in referred for depth in (1, 2)}
    for id, value in _settings(evaluated).items():
        key = id.rpartition("#")[2]
        if id not in read and not key.startswith("_") and _is_plain(value):
            meant = _setting_like(id, evaluated, read)
            raise InputError(
                f"--{id}: configs/{config} has no such setting, and nothing refers to it. "
                + (f"Did you mean --{meant}?" if meant else "Correct it, or leave it out.")
            )


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Values at the top level of a config and in ``SECTIONS``, by their names on the command line."""
    sections = {name: config[name] for name in SECTIONS if isinstance(config.get(name), dict)}
    within = {f"{name}#{key}": value for name, section in sections.items() for key, value in section.items()}
    return {str(key): value for key, value in config.items()} | within


def _is_plain(value: object) -> bool:
    """Whether it can be a setting: no mapping, no list of mappings, lists or text, and no expression, which can be steps to run or
    what a macro reads."""
    if isinstance(value, list):
        return not any(isinstance(part, str | list | dict) for part in value)
    return not isinstance(value, dict) and not str(value).startswith(("$", "@", "%"))


def _texts(config: object) -> Iterator[str]:
    """All values within a config that are text."""
    if isinstance(config, dict | list):
        for part in config.values() if isinstance(config, dict) else config:
            yield from _texts(part)
    elif isinstance(config, str):
        yield config


def _setting_like(id: str, evaluated: Mapping[str, Any], read: Set[str]) -> str | None:
    """The setting whose name is most like that of ``id``: one at the top level, or what a component is given, or where it has that from."""
    found: dict[str, str] = {}
    for name, mapping in evaluated.items():
        for key, value in mapping.items() if isinstance(mapping, dict) else ():
            if name.startswith("_") or str(key).startswith("_"):
                continue
            if isinstance(value, str) and value.startswith("@") and value[1:] in evaluated:
                found.setdefault(str(key), value[1:])
            elif _is_plain(value):
                found.setdefault(str(key), f"{name}#{key}")
    found |= {
        name: name for name, value in evaluated.items() if name in read and (isinstance(value, str) or _is_plain(value))
    }
    alike = get_close_matches(id.rpartition("#")[2], [key for key in found if found[key] != id], n=1, cutoff=0.7)
    return found[alike[0]] if alike else None
