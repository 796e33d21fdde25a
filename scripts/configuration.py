"""What a config knows of itself: its flags, its own text, the definition of a component."""

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from torch import nn

from scripts.errors import InputError, root_cause

FLAGS = {"true": True, "false": False}
NOT_ARGUMENTS = ("_requires_", "_desc_", "_disabled_")


def flag(value: object, name: str) -> bool:
    """Read a true-or-false setting; on the command line ``--resume false`` arrives as the string "false".

    Raises:
        InputError: for anything but true and false.
    """
    known = FLAGS.get(str(value).lower())
    if known is None:
        raise InputError(f"--{name} must be true or false, got {value!r}.")
    return known


def flag_or_name(value: object) -> object:
    """True or false as ``flag`` reads it; anything else, such as a name, stays."""
    return FLAGS.get(str(value).lower(), value)


def optional_flag(value: object, name: str) -> bool | None:
    """As ``flag``, or None for null."""
    return None if value is None else flag(value, name)


def executing_parser() -> ConfigParser:
    """The parser that evaluates the config from which this is called.

    MONAI hands expressions neither the parser nor unparsed definitions, and a run must record both, however it was
    started (``run``, ``create_workflow``, MONAI Label). So it is found among the callers.

    Raises:
        RuntimeError: if no config is being evaluated.
    """
    frame = inspect.currentframe()
    while frame is not None:
        parser = frame.f_locals.get("self")
        if isinstance(parser, ConfigParser):
            return parser
        frame = frame.f_back
    raise RuntimeError("executing_parser() works only inside the evaluation of a config.")


def definition(id: str) -> Any:
    """The definition at ``id`` in the config being evaluated as plain JSON, its references and expressions resolved."""
    return _resolved(executing_parser(), id)


def _resolved(parser: ConfigParser, id: str) -> Any:
    raw = parser[id]
    if isinstance(raw, dict):
        return {key: _resolved(parser, f"{id}::{key}") for key in raw if key not in NOT_ARGUMENTS}
    if isinstance(raw, list):
        return [_resolved(parser, f"{id}::{index}") for index in range(len(raw))]
    return parser.get_parsed_content(id) if isinstance(raw, str) else raw


def sources(ids: Sequence[str]) -> dict[str, Any]:
    """What the config being evaluated says at ``ids``, as written."""
    parser = executing_parser()
    return {id: json.loads(json.dumps(parser[id], default=str)) for id in ids}


def given(id: str) -> Any:
    """What an overlay or the command line sets ``id`` to in the config being evaluated; None where it is computed."""
    value = executing_parser()[id]
    return None if isinstance(value, str) and value.startswith(("$", "@", "%")) else value


def executed_config() -> dict:
    """The config being evaluated, files merged and command line applied, expressions as written: it can be run again."""
    return json.loads(json.dumps(executing_parser().get(), default=str))


def build(definition: Mapping[str, Any]) -> nn.Module:
    """Instantiate a network from its definition in a model card.

    Raises:
        InputError: if the definition is not one, its arguments do not fit, or the target is not a network of MONAI or of
            this bundle: a model card may come from elsewhere, and a definition can name any function.
    """
    target = str(definition.get("_target_", "")) if isinstance(definition, Mapping) else ""
    if target and "." not in target:
        target = f"monai.networks.nets.{target}"  # MONAI's short name
    allowed = ("scripts.networks.", "monai.networks.")
    if not target.startswith(allowed):
        raise InputError(
            f"the model card asks for {target!r}: only networks of {' and '.join(allowed)} are built from it."
        )
    try:
        return ConfigParser({"network_def": dict(definition) | {"_target_": target}}).get_parsed_content("network_def")
    except Exception as error:
        raise InputError(
            f"the model card's network_def cannot be built: {root_cause(error)}. Copy the card again."
        ) from error


def make_folder(path: str | Path, name: str) -> Path:
    """Create an output folder, and see that it can be written.

    Raises:
        InputError: if not.
    """
    folder = Path(path).resolve()
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"--{name} {folder} cannot be written: {error.strerror}. Give another folder.") from error
    return folder
