"""`ts.metrics.metric_cache_yaml_impl`: a cache of the metrics that a file declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from torchloom_models.archive.metric import MetricsCache
from torchloom_models.archive.metric_error import (
    MetricsCacheIOError,
    MetricsCacheKeyError,
    MetricsCachePyYamlError,
    MetricsCacheTypeError,
    MetricsCacheValueError,
)


class MetricsCacheYamlImpl(MetricsCache):
    """A cache made from a file, for tests of handlers: a server gives them one of its own."""

    def __init__(self, config_file_path: str | Path) -> None:
        if not config_file_path:
            raise MetricsCacheTypeError("No file of metrics is named.")
        super().__init__("")
        self.config_file_path = config_file_path
        try:
            text = Path(config_file_path).read_text(encoding="utf-8")
            self._document: object = yaml.safe_load(text)
        except (yaml.YAMLError, UnicodeError) as error:
            raise MetricsCachePyYamlError(f"{str(config_file_path)!r}: {error}") from error
        except OSError as error:
            raise MetricsCacheIOError(f"{str(config_file_path)!r}: {error}") from error

    def initialize_cache(self) -> None:
        """Declare what is below `model_metrics`.

        Raises MetricsCacheKeyError, MetricsCacheTypeError and MetricsCacheValueError.
        """
        for kind, entry in self._entries():
            try:
                name, unit, dimensions = (entry[key] for key in ("name", "unit", "dimensions"))
            except KeyError as error:
                raise MetricsCacheKeyError(f"A {kind} of model_metrics has no {error}.") from error
            self.declare(name=name, kind=kind, unit=unit, dimensions=dimensions)

    def _entries(self) -> Iterator[tuple[str, Mapping[str, object]]]:
        document = self._document if isinstance(self._document, Mapping) else {}
        if "model_metrics" not in document:
            raise MetricsCacheKeyError("There is no `model_metrics`.")
        if not document["model_metrics"]:
            raise MetricsCacheValueError("`model_metrics` has nothing in it.")
        for kind, entries in _as_mapping(document["model_metrics"], "`model_metrics`").items():
            if not isinstance(entries, list):
                raise MetricsCacheTypeError(f"{kind!r} of model_metrics is no list: {entries!r}.")
            for entry in entries:
                yield kind, _as_mapping(entry, f"A {kind} of model_metrics")


def _as_mapping(found: object, what: str) -> Mapping[str, object]:
    if not isinstance(found, Mapping):
        raise MetricsCacheTypeError(f"{what} is no mapping: {found!r}.")
    return found


__all__ = ["MetricsCacheYamlImpl"]
