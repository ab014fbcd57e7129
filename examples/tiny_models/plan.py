"""What a training run is told: a plan for each kind of device, changed by the command line.

Owns the options that all plans share, and how any plan is read. Knows nothing of what is trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Annotated, TypeVar, get_args, get_type_hints

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to train, on what, and where the result goes; each field is an option."""

    folder: Annotated[Path, "where to write the trained folder"]
    device: Annotated[str, "where to train; a GPU if there is one"] = "cpu"
    start: Annotated[Path | None, "a trained folder to go on with"] = None
    steps: Annotated[int, "how long to train"] = 1
    minutes: Annotated[float, "stop by the clock, not by steps"] = 0.0
    seed: Annotated[int, "of weights and lessons"] = 1
    score_every: Annotated[int, "steps between two scores, which are also saved"] = 1000
    compile: Annotated[bool, "compile the models, which takes a minute and then saves more"] = True


P = TypeVar("P", bound=Plan)


def read_plan(plans: Mapping[str, P], description: str, words: Sequence[str] | None = None) -> P:
    """Take the plan of the device's kind ("cpu" or "cuda"), and change it by the command line."""
    parser = argparse.ArgumentParser(
        description=description, argument_default=argparse.SUPPRESS, allow_abbrev=False
    )
    hints = get_type_hints(type(plans["cpu"]), include_extras=True)
    for name, hint in hints.items():
        kind, about = get_args(hint)
        flag, text = f"--{name.replace('_', '-')}", f"{about} ({_values(name, plans)})"
        if kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        else:
            parser.add_argument(flag, type=_reader(kind), help=text)
    given = vars(parser.parse_args(words))
    device = given.get("device", "cuda" if torch.cuda.is_available() else "cpu")
    try:
        return replace(plans.get(torch.device(device).type, plans["cpu"]), **given)
    except (RuntimeError, ValueError) as error:  # an unknown device, or what the plan refuses
        parser.error(str(error))


def name_of(device: torch.device) -> str:
    """Name a device as its maker does, a CPU by its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _reader(kind: type) -> type:
    """Give what reads an option from text, also of one that may be None."""
    (reader,) = [each for each in get_args(kind) or (kind,) if each is not NoneType]
    return reader


def _values(name: str, plans: Mapping[str, Plan]) -> str:
    values = {kind: getattr(plan, name) for kind, plan in plans.items()}
    if len(set(values.values())) == 1:
        return str(values["cpu"])
    return ", ".join(f"{value} on {kind}" for kind, value in values.items())
