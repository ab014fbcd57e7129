"""Intermediate answers: what a handler sends before it returns. TorchServe's face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torchloom_models.archive.context import Context


def send_intermediate_predict_response(
    ret: Sequence[object],
    req_id_map: Mapping[int, str],
    message: str,
    code: int,  # noqa: ARG001 - no status can follow once an answer has begun
    context: Context | None = None,
) -> None:
    """Send an item to each request of the batch, at once. Raises ValueError for too few items."""
    whose = context or Context.current
    if whose is None:
        return
    if len(ret) < len(req_id_map):
        message = f"There are {len(req_id_map)} requests, and {len(ret)} intermediate answers."
        raise ValueError(message)
    for index in req_id_map:
        whose.tell(index, ret[index])
