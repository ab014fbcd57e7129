"""The calls that do the work, by path: Edge answers them itself. Knows no Litestar."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from torchloom_api.exchange import Exchange
from torchloom_api.openai.embedding import embed
from torchloom_api.openai.picture import draw
from torchloom_api.openai.rerank import rerank
from torchloom_api.openai.response import respond
from torchloom_api.openai.text import complete, complete_chat
from torchloom_api.service import Service


#: All are POST.
HOT_CALLS: Final[Mapping[str, Callable[[Service, Exchange], Awaitable[None]]]] = {
    "/v1/chat/completions": complete_chat,
    "/v1/completions": complete,
    "/v1/embeddings": embed,
    "/v1/images/generations": draw,
    "/v1/rerank": rerank,
    "/v1/responses": respond,
}
