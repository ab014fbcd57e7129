"""Machine: the facts about this machine and its packages that compiled code depends on, by name.

A fact is the version of a package, `system`, `machine`, `processor` (its instructions), or the full
name of an OpenVINO device ("openvino:CPU"). Knows no artefact.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from torchloom.errors import DeviceUnavailable
from torchloom_models.openvino_device import full_name


#: What all compiled code depends on.
COMMON = ("torch", "transformers", "torchloom", "machine", "system", "processor")

#: What a fact says where there is no such package or device.
NONE = "none"


@cache
def fact_of(name: str) -> str:
    """Look up one fact."""
    if name in _PLATFORM:
        return _PLATFORM[name]()
    if name.startswith("openvino:"):
        with contextlib.suppress(DeviceUnavailable, RuntimeError):
            return full_name(name.partition(":")[2])
        return NONE
    try:
        return version(name)
    except PackageNotFoundError:
        return NONE


def facts_of(names: Iterable[str]) -> dict[str, str]:
    """Look up several."""
    return {name: fact_of(name) for name in names}


def find_differences(facts: Mapping[str, str]) -> list[str]:
    """Say in what this machine differs from that of the facts: "torch 2.13 (here 2.12)".

    Empty where what was compiled there runs here.
    """
    return [
        _difference(name, there, fact_of(name))
        for name, there in facts.items()
        if there != fact_of(name)
    ]


def _difference(name: str, there: str, here: str) -> str:
    if name != "processor":
        return f"{name} {there} (here {here})"
    theirs, ours = set(there.split()), set(here.split())
    parts = [("lacks", theirs - ours), ("has besides", ours - theirs)]
    words = [f"{verb} {' '.join(sorted(which)[:8])}" for verb, which in parts if which]
    return f"the processor here {' and '.join(words) or 'lists its instructions otherwise'}"


def _processor_features() -> str:
    """Code is compiled for the very processor: another one may lack its instructions."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                return line.partition(":")[2].strip()
    return platform.processor()


_PLATFORM: Mapping[str, Callable[[], str]] = {
    "machine": platform.machine,
    "system": platform.system,
    "processor": _processor_features,
}
