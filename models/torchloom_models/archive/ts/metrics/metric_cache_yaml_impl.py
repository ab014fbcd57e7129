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
        except yaml.YAMLError as error:
            raise MetricsCachePyYamlError(f"{str(config_file_path)!r}: {error}") from error
        except OSError as error:
            raise MetricsCacheIOError(f"{str(config_file_path)!r}: {error}") from error

    def initialize_cache(self) -> None:
        """Declare what is below `model_metrics`. Raises what `metric_cache_errors` has."""
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
        for kind, entries in document["model_metrics"].items():
            for entry in entries:
                yield kind, entry


__all__ = ["MetricsCacheYamlImpl"]
