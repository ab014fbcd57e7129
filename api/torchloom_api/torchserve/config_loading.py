"""Loading: a config.properties, the command line and the environment to a Config.

The environment wins over the command line, and that over the file. Reads no file itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from torchloom.errors import Fault, nearest
from torchloom_api.settings import InvalidSettings
from torchloom_api.torchserve.config import IDLE_KEYS, READERS, Config
from torchloom_api.torchserve.java_properties import BadProperties, Entry, read_properties


#: Variables that hold whether or not `enable_envvars_config` is set → their keys.
_ALWAYS: Final = {
    "TS_OPEN_INFERENCE_PROTOCOL": "ts_open_inference_protocol",
    "TS_REQUEST_SEQUENCE_ID": "ts_header_key_sequence_id",
    "TS_REQUEST_SEQUENCE_START": "ts_header_key_sequence_start",
    "TS_REQUEST_SEQUENCE_END": "ts_header_key_sequence_end",
}

_VARIABLE: Final = re.compile(r"\$\$([A-Za-z_][A-Za-z0-9_]*)\$\$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A Config; what was `given` for it, by key, as text; and what its reader should be told."""

    config: Config
    given: Mapping[str, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """A value as text, and where it stands: a line of the file, or in words."""

    text: str
    place: str = ""
    line: int | None = None


def load_config(
    text: str = "",
    *,
    file: str = "config.properties",
    arguments: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """Lay the environment over arguments (by key) over a file's text.

    `TS_KEY` variables count only where the file says `enable_envvars_config=true`; the file's
    `$$NAME$$` are replaced by variables. Raises InvalidSettings with every fault of all of them.
    """
    environment = environment or {}
    faults: list[Fault] = []
    warnings: list[str] = []
    given = _read_file(text, file, environment, faults, warnings)
    for key, value in (arguments or {}).items():
        given[key] = _Given(text=value, place=f"the command line's {key}")
    given |= _read_environment(given, environment)
    values = _convert(given, file, faults)
    if faults:
        raise InvalidSettings(_summary(faults), faults=faults)
    return Loaded(
        config=Config(**values),  # type: ignore[arg-type]  # each reader gives its field's type
        given={key: value.text for key, value in given.items()},
        warnings=tuple(warnings),
    )


def _read_file(
    text: str,
    file: str,
    environment: Mapping[str, str],
    faults: list[Fault],
    warnings: list[str],
) -> dict[str, _Given]:
    try:
        entries = read_properties(text)
    except BadProperties as error:
        faults.append(Fault(message=str(error), file=file, line=error.line))
        return {}
    given: dict[str, _Given] = {}
    for entry in entries:
        if entry.key in given:
            before = given[entry.key].line
            warnings.append(f"{file}:{entry.line}: {entry.key!r} stands on line {before} too.")
        value = _expand(entry, file, environment, faults)
        given[entry.key] = _Given(text=value, line=entry.line)
    warnings += _find_unknown(given, file)
    return given


def _expand(entry: Entry, file: str, environment: Mapping[str, str], faults: list[Fault]) -> str:
    missing = [name for name in _VARIABLE.findall(entry.value) if name not in environment]
    faults += [
        Fault(
            message=f"Invalid Environment Variable {name}: it is not set.",
            file=file,
            line=entry.line,
        )
        for name in missing
    ]
    return _VARIABLE.sub(lambda match: environment.get(match[1], ""), entry.value)


def _find_unknown(given: Mapping[str, _Given], file: str) -> Iterable[str]:
    known = {*READERS, *IDLE_KEYS}
    for key, value in given.items():
        if key not in known:
            yield f"{file}:{value.line}: there is no key {key!r}.{nearest(key, known)}"
    idle = sorted(key for key in given if IDLE_KEYS.get(key))
    if idle:
        reasons = "; ".join(f"{key} ({IDLE_KEYS[key]})" for key in idle)
        yield f"{file}: these mean nothing here, and are passed over: {reasons}."


def _read_environment(
    given: Mapping[str, _Given], environment: Mapping[str, str]
) -> dict[str, _Given]:
    found = {key: name for name, key in _ALWAYS.items() if name in environment}
    switch = given.get("enable_envvars_config")
    if switch is not None and switch.text.strip().lower() == "true":
        names = {key: f"TS_{key.upper()}" for key in READERS}
        found |= {key: name for key, name in names.items() if name in environment}
    urls = given.get("use_env_allowed_urls")
    if (
        urls is not None
        and urls.text.strip().lower() == "true"
        and "TS_ALLOWED_URLS" in environment
    ):
        found["allowed_urls"] = "TS_ALLOWED_URLS"
    return {key: _Given(text=environment[name], place=name) for key, name in found.items()}


def _convert(given: Mapping[str, _Given], file: str, faults: list[Fault]) -> dict[str, object]:
    values: dict[str, object] = {}
    for key, value in given.items():
        if key not in READERS:
            continue
        try:
            values[key] = READERS[key](value.text)
        except ValueError as error:
            where = file if value.line is not None else value.place
            faults.append(Fault(message=f"{key}: {error}", file=where, line=value.line))
    return values


def _summary(faults: list[Fault]) -> str:
    count = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
    return f"The configuration has {count}: {faults[0]}"
