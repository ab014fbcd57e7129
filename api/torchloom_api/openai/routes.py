"""Routes of the OpenAI API. Edge answers the hot ones itself; they stand here for the documents."""

from __future__ import annotations

from litestar import get, post
from litestar.types import ASGIApp

from torchloom_api.native.access import INFERENCE, READING
from torchloom_api.native.request import (
    AnyRequest,
    PathText,
    ServiceParam,
    answer_by,
    to_exchange,
)
from torchloom_api.openai.embedding import embed
from torchloom_api.openai.picture import draw
from torchloom_api.openai.rerank import rerank
from torchloom_api.openai.response import respond
from torchloom_api.openai.served_model import ModelCard, ModelCards, find_card, list_cards
from torchloom_api.openai.text import complete, complete_chat


@get("/models", opt=READING, operation_id="listOpenaiModels")
async def list_models(service: ServiceParam) -> ModelCards:
    """List the models that this API serves, in OpenAI's form."""
    return list_cards(service)


@get("/models/{label:str}", opt=READING, operation_id="getOpenaiModel")
async def get_model(label: PathText, service: ServiceParam) -> ModelCard:
    """Show a model, in OpenAI's form."""
    return find_card(service, label)


@post("/chat/completions", status_code=200, opt=INFERENCE, operation_id="completeChat")
async def post_chat(request: AnyRequest, service: ServiceParam) -> ASGIApp:
    """Go on with a conversation, at once or streamed."""
    exchange = to_exchange(request)
    return answer_by(exchange, complete_chat(service, exchange))


@post("/completions", status_code=200, opt=INFERENCE, operation_id="complete")
async def post_completion(request: AnyRequest, service: ServiceParam) -> ASGIApp:
    """Go on with one or several texts, at once or streamed."""
    exchange = to_exchange(request)
    return answer_by(exchange, complete(service, exchange))


@post("/embeddings", status_code=200, opt=INFERENCE, operation_id="embed")
async def post_embedding(request: AnyRequest, service: ServiceParam) -> ASGIApp:
    """Turn texts into vectors."""
    exchange = to_exchange(request)
    return answer_by(exchange, embed(service, exchange))


@post("/responses", status_code=200, opt=INFERENCE, operation_id="respond")
async def post_response(request: AnyRequest, service: ServiceParam) -> ASGIApp:
    """Go on with a conversation, at once or streamed, by the newer form."""
    exchange = to_exchange(request)
    return answer_by(exchange, respond(service, exchange))


@post("/images/generations", status_code=200, opt=INFERENCE, operation_id="draw")
async def post_picture(request: AnyRequest, service: ServiceParam) -> ASGIApp:
    """Draw one or several pictures."""
    exchange = to_exchange(request)
    return answer_by(exchange, draw(service, exchange))


@post("/rerank", status_code=200, opt=INFERENCE, operation_id="rerank")
async def post_ranking(request: AnyRequest, service: ServiceParam) -> ASGIApp:
    """Rank documents by a query."""
    exchange = to_exchange(request)
    return answer_by(exchange, rerank(service, exchange))


#: Every route of this API.
ROUTES = (
    list_models,
    get_model,
    post_chat,
    post_response,
    post_completion,
    post_embedding,
    post_picture,
    post_ranking,
)
