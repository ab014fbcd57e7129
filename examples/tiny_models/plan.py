"""What a training run is told: a plan for each kind of device, changed by the command line.

Owns the options that all plans share, and how any plan is read. Knows nothing of what is trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType
from typing import TypeVar, get_args, get_type_hints

import torch


T = TypeVar("T")


def option(default: T, help: str) -> T:  # noqa: A002 - argparse's word
    """Make a field of a plan, which is an option of the command line as well."""
    value: T = field(default=default, metadata={"help": help})
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to train, on what, and where the result goes."""

    folder: Path
    device: str = option("cpu", "where to train; a GPU if there is one")
    start: Path | None = option(None, "a trained folder to go on with")
    steps: int = option(1, "how long to train")
    minutes: float = option(0.0, "stop by the clock, not by steps")
    seed: int = option(1, "of weights and lessons")
    score_every: int = option(1000, "steps between two scores, which are also saved")
    compile: bool = option(True, "compile the models, which takes a minute and then saves more")


P = TypeVar("P", bound=Plan)


def read_plan(plans: Mapping[str, P], description: str, words: Sequence[str] | None = None) -> P:
    """Take the plan of the device's kind ("cpu" or "cuda"), and change it by the command line."""
    parser = argparse.ArgumentParser(
        description=description, argument_default=argparse.SUPPRESS, allow_abbrev=False
    )
    hints = get_type_hints(type(plans["cpu"]))
    for each in fields(plans["cpu"]):
        name, text = f"--{each.name.replace('_', '-')}", _help(each, plans)
        if hints[each.name] is bool:
            parser.add_argument(name, action=argparse.BooleanOptionalAction, help=text)
        else:
            parser.add_argument(name, type=_kind(hints[each.name]), help=text)
    given = vars(parser.parse_args(words))
    device = given.get("device", "cuda" if torch.cuda.is_available() else "cpu")
    plan = plans.get(torch.device(device).type, plans["cpu"])
    try:
        return replace(plan, **given)
    except ValueError as error:
        parser.error(str(error))


def name_of(device: torch.device) -> str:
    """Name a device as its maker does, a CPU by its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _kind(hint: type) -> type:
    """Give the type of an option that may be None."""
    (kind,) = [kind for kind in get_args(hint) or (hint,) if kind is not NoneType]
    return kind


def _help(each: Field[object], plans: Mapping[str, Plan]) -> str:
    values = {kind: getattr(plan, each.name) for kind, plan in plans.items()}
    if len(set(values.values())) == 1:
        shown = str(values["cpu"])
    else:
        shown = ", ".join(f"{value} on {kind}" for kind, value in values.items())
    return f"{each.metadata.get('help', 'where to write it')} ({shown})"
