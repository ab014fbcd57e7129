"""Reading `metrics_config`: a YAML file that declares metrics, with all of its faults at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, cast

import yaml

from torchloom.errors import nearest
from torchloom.sample import SampleKind
from torchloom_api.settings import InvalidSettings
from torchloom_api.torchserve.telemetry.metric_declaration import (
    HOSTNAME,
    SERVER_DIMENSIONS,
    MetricDeclaration,
    MetricTable,
)


_KINDS: Final[Sequence[SampleKind]] = ("counter", "gauge", "histogram")

_GROUPS: Final = ("ts_metrics", "model_metrics")

_KEYS: Final = frozenset({"name", "unit", "dimensions"})

#: What Prometheus takes for names; of dimensions a colon is no part.
NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

#: A larger file is none that somebody has written.
_MAX_BYTES: Final = 1 << 20


class InvalidMetricsFile(InvalidSettings):
    """A `metrics_config` that cannot be read."""

    title = "Invalid metrics configuration"


def read_metric_file(path: Path) -> MetricTable:
    """Read a file. Raises InvalidMetricsFile, which names every fault."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        message = f"The metrics_config {str(path)!r} cannot be read: {error.strerror or error}."
        raise InvalidMetricsFile(message) from error
    if len(data) > _MAX_BYTES:
        message = f"The metrics_config {str(path)!r} has more than {_MAX_BYTES} bytes."
        raise InvalidMetricsFile(message)
    return read_metrics(data.decode("utf-8", "replace"), str(path))


def read_metrics(text: str, file: str) -> MetricTable:
    """Read the text of a file. Raises InvalidMetricsFile, which names every fault."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidMetricsFile(f"The metrics_config {file!r} is no YAML: {error}") from error
    faults: list[str] = []
    read = {group: _read_group(document, group, faults) for group in _GROUPS}
    twice = sorted(set(read["ts_metrics"]) & set(read["model_metrics"]))
    faults += [f"{name!r} is declared under both ts_metrics and model_metrics" for name in twice]
    if faults:
        message = f"The metrics_config {file!r} has faults: {'; '.join(faults)}."
        raise InvalidMetricsFile(message)
    return MetricTable(
        server=MappingProxyType(read["ts_metrics"]), model=MappingProxyType(read["model_metrics"])
    )


def _read_group(document: object, group: str, faults: list[str]) -> dict[str, MetricDeclaration]:
    kinds = document.get(group) if isinstance(document, Mapping) else None
    if not isinstance(kinds, Mapping):
        faults.append(f"{group} is missing, or no mapping")
        return {}
    known: dict[str, MetricDeclaration] = {}
    for kind, entries in kinds.items():
        if kind not in _KINDS:
            faults.append(f"{group} has {kind!r}, which is no kind{nearest(str(kind), _KINDS)}")
            continue
        for index, entry in enumerate(entries if isinstance(entries, list) else [entries]):
            place = f"{group}.{kind}[{index}]"
            found = list(_faults_of(entry, place, group))
            faults += found
            if not found:
                declared = _declare(cast("Mapping[str, object]", entry), kind, group)
                if declared.name in known:
                    faults.append(f"{place}: {declared.name!r} is declared twice")
                known[declared.name] = declared
    return known


def _faults_of(entry: object, place: str, group: str) -> Iterator[str]:
    if not isinstance(entry, Mapping):
        yield f"{place} is no mapping with name, unit and dimensions"
        return
    name, unit, dimensions = (entry.get(key) for key in ("name", "unit", "dimensions"))
    if not isinstance(name, str) or not NAME.fullmatch(name):
        yield f"{place}: {name!r} is no name of a metric"
        return
    if not isinstance(unit, str) or not unit:
        yield f"{place}: {name!r} has no unit"
    if not isinstance(dimensions, list) or not dimensions:
        yield f"{place}: {name!r} has no dimensions"
        return
    wrong = [each for each in dimensions if not isinstance(each, str) or not LABEL.fullmatch(each)]
    if wrong:
        yield f"{place}: {name!r} has dimensions that are no names: {wrong}"
    elif len(set(dimensions)) < len(dimensions):
        yield f"{place}: {name!r} has a dimension twice"
    expected = SERVER_DIMENSIONS.get(name) if group == "ts_metrics" else None
    if expected is not None and len(dimensions) != expected:
        yield f"{place}: {name!r} must have {expected} dimensions, not {len(dimensions)}"
    unknown = sorted(str(key) for key in entry.keys() - _KEYS)
    if unknown:
        yield f"{place}: {name!r} has the unknown keys {unknown}"


def _declare(entry: Mapping[str, object], kind: SampleKind, group: str) -> MetricDeclaration:
    dimensions = tuple(cast("list[str]", entry["dimensions"]))
    # As TorchServe does: the host's name is added to what handlers measure.
    if group == "model_metrics" and HOSTNAME not in dimensions:
        dimensions = (*dimensions, HOSTNAME)
    return MetricDeclaration(
        name=str(entry["name"]), kind=kind, unit=str(entry["unit"]), dimensions=dimensions
    )
