"""The calls that write text: chat completions and completions. Raw ASGI, since they are hot."""

from __future__ import annotations

from torchloom.deployment import Deployment
from torchloom.engine import Values
from torchloom_api.call import read_options
from torchloom_api.exchange import Exchange
from torchloom_api.media import JSON
from torchloom_api.openai.answer_form import AnswerForm, AnswerHead
from torchloom_api.openai.chat_form import ChatForm
from torchloom_api.openai.chat_request import ChatRequest
from torchloom_api.openai.chunk_stream import stream_answers
from torchloom_api.openai.completion_form import CompletionForm
from torchloom_api.openai.completion_request import DEFAULT_MAX_TOKENS, CompletionRequest
from torchloom_api.openai.generation import Generation, Prompt
from torchloom_api.openai.request_body import read_request
from torchloom_api.openai.served_model import pick_model
from torchloom_api.openai.text_request import TextRequest
from torchloom_api.openai.unserved_field import CHAT, COMPLETION
from torchloom_api.openai.usage import Usage
from torchloom_api.presence import while_present
from torchloom_api.service import Service


async def complete_chat(service: Service, exchange: Exchange) -> None:
    """Go on with a conversation."""
    service.require_started()
    request = await read_request(exchange, service.settings.body_limit, ChatRequest, CHAT)
    inputs: list[Values] = [{"messages": request.to_messages()}]
    params = request.to_params(request.token_limit)
    form = ChatForm(
        head=AnswerHead.make("chatcmpl", request.model), has_usage=request.includes_usage
    )
    deployment = pick_model(service, request.model, "llm")
    generation = _generate(service, exchange, deployment, request, inputs, params)
    await _answer(exchange, request, generation, form)


async def complete(service: Service, exchange: Exchange) -> None:
    """Go on with texts."""
    service.require_started()
    limit = service.settings.body_limit
    request = await read_request(exchange, limit, CompletionRequest, COMPLETION)
    inputs: list[Values] = [{"prompt": prompt} for prompt in request.to_prompts()]
    deployment = pick_model(service, request.model, "llm")
    max_tokens = request.max_tokens
    if max_tokens is None and "max_tokens" not in deployment.params:
        max_tokens = DEFAULT_MAX_TOKENS
    params = request.to_params(max_tokens)
    form = CompletionForm(
        head=AnswerHead.make("cmpl", request.model), has_usage=request.includes_usage
    )
    generation = _generate(service, exchange, deployment, request, inputs, params)
    await _answer(exchange, request, generation, form)


def _generate(
    service: Service,
    exchange: Exchange,
    deployment: Deployment,
    request: TextRequest,
    inputs: list[Values],
    params: Values,
) -> Generation:
    """Make a task for each choice of each prompt. Raises what its checks raise."""
    request.check_stream()
    check = service.checks.of(f"model {deployment.label}", deployment.signature)
    check.check_params(dict(params))
    seeds = [request.to_seed(choice) for choice in range(request.num_choices)]
    return Generation(
        service=service,
        deployment=deployment,
        prompts=[Prompt(each, {**params, **seed}) for each in inputs for seed in seeds],
        num_choices=request.num_choices,
        options=read_options(service, exchange),
    )


async def _answer(
    exchange: Exchange, request: TextRequest, generation: Generation, form: AnswerForm
) -> None:
    if request.stream:
        keepalive_s = generation.service.settings.keepalive_s
        has_usage = request.includes_usage
        await stream_answers(
            exchange, generation, form, has_usage=has_usage, keepalive_s=keepalive_s
        )
        return
    answers = await while_present(exchange, generation.run())
    usage = Usage.of(answers, generation.num_choices)
    await exchange.respond(200, form.whole(answers, usage), JSON)
