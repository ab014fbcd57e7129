"""The call that embeds texts: its body, and its answer. Raw ASGI, since it is hot."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal, cast

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from torchloom_api.call import read_options
from torchloom_api.exchange import Exchange
from torchloom_api.media import JSON, to_json
from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.request_body import read_request, to_text
from torchloom_api.openai.served_model import pick_model
from torchloom_api.openai.unserved_field import EMBEDDING
from torchloom_api.openai.usage import EmbeddingUsage
from torchloom_api.presence import while_present
from torchloom_api.service import Service


#: The most texts of one request, as OpenAI has it.
_MAX_TEXTS: Final = 2048

Vectors = NDArray[np.float32]

#: What OpenAI takes besides text.
_OF_TOKENS: Final = "arrays of tokens"


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Texts that are to be turned into vectors."""

    model: str
    input: str | list[object]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    user: str | None = None

    def to_texts(self) -> list[str]:
        """Give the texts. Raises InvalidRequest."""
        if isinstance(self.input, str):
            return [to_text(self.input, "input", of_tokens=_OF_TOKENS)]
        if not 1 <= len(self.input) <= _MAX_TEXTS:
            message = f"'input' must hold 1 to {_MAX_TEXTS} texts, not {len(self.input)}."
            raise InvalidRequest(message, param="input", code="invalid_value")
        return [
            to_text(text, f"input[{i}]", of_tokens=_OF_TOKENS) for i, text in enumerate(self.input)
        ]


class Embedding(msgspec.Struct, frozen=True, kw_only=True):
    """A vector: numbers, or the bytes of little-endian float32 in base64."""

    index: int
    embedding: Sequence[float] | str
    object: Literal["embedding"] = "embedding"


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """A vector for each text, in order."""

    data: Sequence[Embedding]
    model: str
    usage: EmbeddingUsage
    object: Literal["list"] = "list"


async def embed(service: Service, exchange: Exchange) -> None:
    """Turn texts into vectors. A text that is too long is refused, unless the model file cuts."""
    service.require_started()
    limit = service.settings.body_limit
    request = await read_request(exchange, limit, EmbeddingRequest, EMBEDDING)
    texts = request.to_texts()
    deployment = pick_model(service, request.model, "embedder")
    prediction = service.orchestrator.predict(
        deployment.name,
        {"texts": texts},
        {} if "truncate" in deployment.params else {"truncate": False},
        version=deployment.version,
        options=read_options(service, exchange),
    )
    outputs = await while_present(exchange, prediction)
    vectors = np.asarray(outputs["embeddings"], dtype="<f4")
    usage = cast("Mapping[str, int]", outputs["usage"])
    await exchange.respond(200, to_json(_to_answer(request, vectors, usage["prompt"])), JSON)


def _to_answer(request: EmbeddingRequest, vectors: Vectors, num_tokens: int) -> Embeddings:
    size = vectors.shape[1]
    if request.dimensions not in (None, size):
        message = f"'dimensions': vectors of {request.model!r} have {size} numbers, and only so."
        raise InvalidRequest(message, param="dimensions", code="unsupported_value")
    is_packed = request.encoding_format == "base64"
    data = [
        Embedding(
            index=index,
            embedding=base64.b64encode(vector.tobytes()).decode()
            if is_packed
            else cast("list[float]", vector.tolist()),
        )
        for index, vector in enumerate(vectors)
    ]
    usage = EmbeddingUsage(prompt_tokens=num_tokens, total_tokens=num_tokens)
    return Embeddings(data=data, model=request.model, usage=usage)
