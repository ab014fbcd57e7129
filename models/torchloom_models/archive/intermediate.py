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
    """Send an item to each request that is named, at once; its id says whose it is, not its place.

    Handlers that work on a part of the batch count the places of that part. Raises ValueError for
    too few items, and for a request that is not of the batch.
    """
    whose = context or Context.current
    if whose is None:
        return
    if len(ret) < len(req_id_map):
        message = f"There are {len(req_id_map)} requests, and {len(ret)} intermediate answers."
        raise ValueError(message)
    places = {index: _place_of(whose, index, named) for index, named in req_id_map.items()}
    for index, place in places.items():
        whose.tell(place, ret[index])


def _place_of(context: Context, index: int, named: str) -> int:
    ids = context.request_ids or {}
    if ids.get(index) == named:
        return index
    place = next((each for each, known in ids.items() if known == named), None)
    if place is None:
        raise ValueError(f"There is no request {named!r} in this batch to send an answer to.")
    return place
