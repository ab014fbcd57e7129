"""The call that ranks documents by a query: its body, its answer, and the work. Raw ASGI: hot.

An embedder ranks: a score is the cosine of two vectors. OpenAI has no such call; its form is the
one that Cohere's and Jina's clients share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, cast

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType
from numpy.typing import NDArray

from torchloom.random_id import new_id
from torchloom_api.call import read_options
from torchloom_api.exchange import Exchange
from torchloom_api.media import JSON, to_json
from torchloom_api.openai.request_body import read_request
from torchloom_api.openai.served_model import pick_model
from torchloom_api.openai.text_request import Positive
from torchloom_api.openai.unserved_field import RERANK
from torchloom_api.openai.usage import EmbeddingUsage
from torchloom_api.presence import while_present
from torchloom_api.service import Service


#: The most documents of one request: with the query as many texts as embeddings take.
_MAX_DOCUMENTS: Final = 2047

Text = Annotated[str, Meta(min_length=1)]


class RankedText(msgspec.Struct, frozen=True, kw_only=True):
    """A document, where it is not a plain text."""

    text: Text


class RerankRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Documents that are to be ranked. `top_n` is how many come back: all, if it is left out."""

    model: str
    query: Text
    documents: Annotated[Sequence[Text | RankedText], Meta(min_length=1, max_length=_MAX_DOCUMENTS)]
    top_n: Positive | None = None
    return_documents: bool | None = None
    user: str | None = None

    def to_texts(self) -> list[str]:
        """Give the documents as texts."""
        return [each if isinstance(each, str) else each.text for each in self.documents]


class Rank(msgspec.Struct, frozen=True, kw_only=True):
    """A document by its place in the request, and its score, from -1 to 1."""

    index: int
    relevance_score: float
    document: RankedText | UnsetType = UNSET


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """Documents, the nearest to the query first."""

    id: str
    model: str
    results: Sequence[Rank]
    usage: EmbeddingUsage


async def rerank(service: Service, exchange: Exchange) -> None:
    """Rank documents. A text that is too long is refused, unless the model file cuts."""
    service.require_started()
    request = await read_request(exchange, service.settings.body_limit, RerankRequest, RERANK)
    texts = request.to_texts()
    deployment = pick_model(service, request.model, "embedder")
    prediction = service.orchestrator.predict(
        deployment.name,
        {"texts": [request.query, *texts]},
        {} if "truncate" in deployment.params else {"truncate": False},
        version=deployment.version,
        options=read_options(service, exchange),
    )
    outputs = await while_present(exchange, prediction)
    scores = to_scores(np.asarray(outputs["embeddings"], dtype=np.float32))
    num_tokens = cast("Mapping[str, int]", outputs["usage"])["prompt"]
    ranking = Ranking(
        id=f"rerank-{new_id()}",
        model=request.model,
        results=_to_ranks(request, texts, scores),
        usage=EmbeddingUsage(prompt_tokens=num_tokens, total_tokens=num_tokens),
    )
    await exchange.respond(200, to_json(ranking), JSON)


def to_scores(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the cosine of each vector but the first with the first: [n + 1, dim] to [n].

    A vector of zeros has no direction, and so is 0 from every other.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions = vectors / np.where(lengths > 0, lengths, 1)
    scores: NDArray[np.float32] = directions[1:] @ directions[0]
    return scores


def _to_ranks(
    request: RerankRequest, texts: Sequence[str], scores: NDArray[np.float32]
) -> list[Rank]:
    # Stable: of equal scores the document that was sent first stays first.
    order = np.argsort(-scores, kind="stable")[: request.top_n]
    return [
        Rank(
            index=int(index),
            relevance_score=float(scores[index]),
            document=RankedText(text=texts[index]) if request.return_documents else UNSET,
        )
        for index in order
    ]
