"""What the OpenAPI document says of this API's calls, whose bodies are read by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from torchloom_api.openai.chat_form import ChatChunk, ChatCompletion
from torchloom_api.openai.chat_request import ChatRequest
from torchloom_api.openai.completion_form import Completion
from torchloom_api.openai.completion_request import CompletionRequest
from torchloom_api.openai.embedding import EmbeddingRequest, Embeddings
from torchloom_api.openai.error import ErrorDocument
from torchloom_api.openai.picture import Pictures
from torchloom_api.openai.picture_request import PictureRequest
from torchloom_api.openai.rerank import Ranking, RerankRequest
from torchloom_api.openai.response_document import Response, ResponseEvent
from torchloom_api.openai.response_request import ResponseRequest
from torchloom_api.openai.served_model import ModelCard
from torchloom_api.openapi_part import HEADERS, Json
from torchloom_api.openapi_schema import refer, to_content, to_schemas


#: Request, answer, and chunk of a stream, by the operation's id.
_CALLS: Final[Mapping[str, tuple[type, type, type | None]]] = {
    "completeChat": (ChatRequest, ChatCompletion, ChatChunk),
    "complete": (CompletionRequest, Completion, Completion),
    "embed": (EmbeddingRequest, Embeddings, None),
    "draw": (PictureRequest, Pictures, None),
    "rerank": (RerankRequest, Ranking, None),
    "respond": (ResponseRequest, Response, ResponseEvent),
}

#: Calls whose errors alone are told here.
_READS: Final = ("listOpenaiModels", "getOpenaiModel")

_TYPES: Final = [ErrorDocument, ModelCard, *(t for call in _CALLS.values() for t in call if t)]


def complete_operation(operation: Json) -> None:
    """Add body, answers and errors to one of this API's operations; leave others as they are."""
    name = str(operation.get("operationId"))
    call = _CALLS.get(name)
    if call is None and name not in _READS:
        return
    responses = cast("Json", operation["responses"])
    errors = to_content(ErrorDocument)
    responses["default"] = {"description": "What went wrong.", "content": errors}
    if call is None:
        return
    request, answer, chunk = call
    content = to_content(answer)
    if chunk is not None:
        content["text/event-stream"] = {"schema": refer(chunk)}
    responses["200"] = {"description": "The answer", "content": content}
    operation["requestBody"] = {"required": True, "content": to_content(request)}
    operation["parameters"] = HEADERS


def component_schemas() -> Json:
    """Give the schemas that those refer to, by name."""
    return to_schemas(_TYPES)
