"""The call that makes a response: the newer way to go on with a conversation. Raw ASGI: hot."""

from __future__ import annotations

from torchloom_api.exchange import Exchange
from torchloom_api.openai.delivery import deliver
from torchloom_api.openai.request_body import read_fields, to_struct
from torchloom_api.openai.response_form import ResponseForm
from torchloom_api.openai.response_format import EXTRA_FIELD
from torchloom_api.openai.response_request import ResponseRequest
from torchloom_api.openai.unserved_field import RESPONSE
from torchloom_api.openai.workflow_input import Talk
from torchloom_api.openai.writer import converse
from torchloom_api.service import Service


async def respond(service: Service, exchange: Exchange) -> None:
    """Go on with a conversation, at once or streamed. Nothing of it is stored."""
    service.require_started()
    fields = await read_fields(exchange, service.settings.body_limit, RESPONSE)
    request = to_struct(fields, ResponseRequest)
    request.check_stream()
    talk = Talk(
        place="input",
        messages=request.to_messages(),
        tools=request.to_tools(),
        params={**request.to_params(request.max_output_tokens), **request.to_logprobs()},
        seed=request.seed,
        fields={
            "max_tokens": "max_output_tokens",
            "logprobs": "include",
            EXTRA_FIELD: request.form_field,
        },
        extras=request.to_extras(fields, RESPONSE),
    )
    generation = converse(service, exchange, model=request.model, talk=talk)
    form = ResponseForm(request)
    await deliver(
        service, exchange, generation=generation, form=form, is_streamed=bool(request.stream)
    )
