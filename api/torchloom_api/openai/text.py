"""The calls that write text: chat completions and completions. Raw ASGI, since they are hot."""

from __future__ import annotations

from torchloom_api.exchange import Exchange
from torchloom_api.openai.adapter import adapter_params
from torchloom_api.openai.answer_form import AnswerHead
from torchloom_api.openai.chat_form import ChatForm
from torchloom_api.openai.chat_request import ChatRequest
from torchloom_api.openai.completion_form import CompletionForm
from torchloom_api.openai.completion_request import DEFAULT_MAX_TOKENS, CompletionRequest
from torchloom_api.openai.delivery import deliver
from torchloom_api.openai.echo import EchoedGeneration
from torchloom_api.openai.generation import Generation
from torchloom_api.openai.request_body import read_fields, read_request, to_struct
from torchloom_api.openai.response_format import EXTRA_FIELD
from torchloom_api.openai.served_model import pick_model
from torchloom_api.openai.terms import OWN_TERMS, Terms
from torchloom_api.openai.unserved_field import CHAT, COMPLETION
from torchloom_api.openai.workflow_input import Talk
from torchloom_api.openai.writer import converse, write
from torchloom_api.service import Service


async def complete_chat(service: Service, exchange: Exchange) -> None:
    """Go on with a conversation."""
    service.require_started()
    await answer_chat(service, exchange, OWN_TERMS)


async def answer_chat(service: Service, exchange: Exchange, terms: Terms) -> None:
    """Go on with a conversation, on terms."""
    fields = await read_fields(exchange, service.settings.body_limit, CHAT)
    request = to_struct(fields, ChatRequest)
    request.check_stream()
    talk = Talk(
        place="messages",
        messages=request.to_messages(),
        tools=request.to_tools(),
        params={**request.to_params(request.token_limit), **request.to_logprobs()},
        seed=request.seed,
        fields={"max_tokens": request.token_limit_field, EXTRA_FIELD: request.form_field},
        extras=request.to_extras(fields, CHAT),
    )
    generation = converse(
        service,
        exchange,
        model=terms.to_label(request.model),
        talk=talk,
        num_choices=request.num_choices,
        terms=terms,
    )
    form = ChatForm(
        head=AnswerHead.make("chatcmpl-", request.model),
        has_usage=request.includes_usage,
        has_logprobs=bool(request.logprobs),
    )
    await deliver(
        service, exchange, generation=generation, form=form, is_streamed=bool(request.stream)
    )


async def complete(service: Service, exchange: Exchange) -> None:
    """Go on with texts."""
    service.require_started()
    await answer_completion(service, exchange, OWN_TERMS)


async def answer_completion(service: Service, exchange: Exchange, terms: Terms) -> None:
    """Go on with texts, on terms."""
    limit = service.settings.body_limit
    request = await read_request(exchange, limit, CompletionRequest, COMPLETION)
    request.check_stream()
    request.check_best()
    prompts = request.to_prompts()
    label = terms.to_label(request.model)
    deployment = pick_model(service, label, "llm")
    max_tokens = request.max_tokens
    if max_tokens is None and "max_tokens" not in deployment.params:
        max_tokens = DEFAULT_MAX_TOKENS
    generation: Generation = write(
        service,
        exchange,
        deployment=deployment,
        inputs=[{"prompt": prompt} for prompt in prompts],
        params={
            **request.to_params(max_tokens),
            **request.to_logprobs(),
            **adapter_params(service, deployment, label),
        },
        seed=request.seed,
        num_choices=request.num_choices,
        terms=terms,
    )
    if request.echo:
        each = [prompt for prompt in prompts for _ in range(request.num_choices)]
        generation = EchoedGeneration(inner=generation, prompts=each)
    form = CompletionForm(
        head=AnswerHead.make("cmpl-", request.model),
        has_usage=request.includes_usage,
        has_logprobs=request.logprobs is not None,
    )
    await deliver(
        service, exchange, generation=generation, form=form, is_streamed=bool(request.stream)
    )
