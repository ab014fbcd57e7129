"""Listing: a page of a list, as TorchServe cuts it. Knows no model and no workflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torchloom_api.torchserve.parameters import Parameters


_MAX_PAGE: Final = 100


def to_page(parameters: Parameters, key: str, entries: Sequence[object]) -> dict[str, object]:
    """Give the entries that are asked for under `key`; first a token, where more follow."""
    limit = parameters.number("limit")
    limit = _MAX_PAGE if limit is None or not 0 <= limit <= _MAX_PAGE else limit
    start = max(parameters.number("next_page_token") or 0, 0)
    end = start + limit
    page: dict[str, object] = {"nextPageToken": str(end)} if end < len(entries) else {}
    return {**page, key: list(entries[start:end])}
