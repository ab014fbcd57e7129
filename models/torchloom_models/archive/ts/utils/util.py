"""`ts.utils.util`."""

from __future__ import annotations

from torchloom_models.archive.prediction_exception import PredictionException


__all__ = ["PredictionException"]
