"""What goes wrong with metrics of handlers, by the names that handlers catch. Knows no metric."""

from __future__ import annotations

import yaml


class GeneralMetricsCacheError(Exception):
    """Something else."""


class MetricsCacheIOError(OSError):
    """A file of metrics cannot be read."""


class MetricsCacheKeyError(KeyError):
    """There is no such metric."""


class MetricsCachePyYamlError(yaml.YAMLError):
    """A file of metrics is no YAML."""


class MetricsCacheTypeError(TypeError):
    """An argument is of the wrong type."""


class MetricsCacheValueError(ValueError):
    """An argument cannot be."""
