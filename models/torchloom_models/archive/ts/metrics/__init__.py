"""`ts.metrics`."""

from __future__ import annotations

from torchloom_models.archive.ts.metrics import dimension, metric, metrics_store, unit


__all__ = ["dimension", "metric", "metrics_store", "unit"]
