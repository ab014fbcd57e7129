"""`ts.handler_utils.utils`."""

from __future__ import annotations

from torchloom_models.archive.intermediate import send_intermediate_predict_response


__all__ = ["send_intermediate_predict_response"]
