"""Endpoint: what the address of a model that an archive brought answers, by the path behind it.

A handler is told the path. A language model has OpenAI's routes there, whose work is the native
API's: here is which there are, what `model` may say, and in whose words it is told what goes wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from msgspec.structs import replace

from torchloom.errors import TorchLoomError, UnknownModel, nearest
from torchloom.timings import Meter
from torchloom_api.adapter_shelf import adapters_of
from torchloom_api.exchange import Exchange
from torchloom_api.media import to_json
from torchloom_api.openai.served_model import ModelCard, ModelCards
from torchloom_api.openai.terms import Terms
from torchloom_api.openai.text import answer_chat, answer_completion
from torchloom_api.service import SERVING, Service
from torchloom_api.torchserve.answer import JSON, Answer, json_answer
from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_error import FrontendError, internal
from torchloom_api.torchserve.open_api import prediction_document
from torchloom_api.torchserve.passage import Passage
from torchloom_api.torchserve.plain_writing import write_plainly
from torchloom_api.torchserve.prediction import (
    Call,
    Told,
    no_worker,
    predict,
    require_ticket,
    say,
)
from torchloom_api.torchserve.reply import Reply
from torchloom_api.torchserve.request import Request
from torchloom_models.archive.llm.language_model import LanguageModel


#: The first part of OpenAI's paths, which stands where TorchServe has a version.
_OPENAI: Final = "v1"

_MODELS: Final = "v1/models"

_CALLS: Final[Mapping[str, Callable[[Service, Exchange, Terms], Awaitable[None]]]] = {
    "v1/chat/completions": answer_chat,
    "v1/completions": answer_completion,
}

_FIRST_OURS: Final = 500


async def ask_model(
    frontend: Frontend, request: Request, reply: Reply, call: Call
) -> Answer | None:
    """Ask a model, or describe it by OPTIONS: on whichever path it is asked.

    Gives the answer, or None where it was sent. Raises FrontendError.
    """
    call = _without_version(frontend, call)
    served = frontend.catalog.find(call.model, call.version)
    if request.method == "OPTIONS":
        return json_answer(prediction_document(served.name))
    if served.language is None:
        return await predict(frontend, request, reply, call)
    with Told(frontend, served, call, request.id) as outcome:
        asking = Asking(
            frontend=frontend,
            request=request,
            reply=reply,
            call=call,
            served=served,
            language=served.language,
            meter=outcome.meter,
        )
        answer = await asking.answer()
        outcome.status = reply.exchange.status if answer is None else answer.status
    return answer


def unknown_endpoint(path: str | None) -> FrontendError:
    """Refuse a path that a language model has not, in the words of TorchServe's handler."""
    return internal(f"Unknown API endpoint: {path}", 404)


def _without_version(frontend: Frontend, call: Call) -> Call:
    """Read `M/v1/PATH` as a path of the default version, unless there is a version `v1`."""
    catalog = frontend.catalog
    if call.version != _OPENAI or not catalog.has(call.model):
        return call
    has_version = any(each.version == _OPENAI for each in catalog.versions(call.model))
    if has_version or catalog.find(call.model).language is None:
        return call
    return replace(call, version=None, url_path=f"{_OPENAI}/{call.url_path}".rstrip("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One request to a language model. `meter` takes what it waits and runs."""

    frontend: Frontend
    request: Request
    reply: Reply
    call: Call
    served: Served
    language: LanguageModel
    meter: Meter

    async def answer(self) -> Answer | None:
        """Give the answer, or None where it was sent. Raises FrontendError."""
        frontend, call, path = self.frontend, self.call, self.call.url_path
        if path == _MODELS:
            return _list(frontend, self.served, self.language)
        require_ticket(frontend, self.served, call)
        if frontend.catalog.status(self.served) is None:
            raise no_worker(call.model, call.version)
        if path is not None and path in _CALLS:
            return await self._pass_on(path)
        if self.language.writes_plainly and not path:
            return await write_plainly(
                frontend, self.request, self.reply, call, self.served, self.meter
            )
        raise unknown_endpoint(path)

    async def _pass_on(self, path: str) -> Answer | None:
        """Let the native API answer; what is wrong with a request is told in its shape."""
        frontend = self.frontend
        most = frontend.settings.max_response_size
        passage = Passage(self.request, self.reply, f"/{path}", max_bytes=most)
        terms = Terms(
            to_label=partial(_to_label, frontend, self.served, self.language),
            timeout_s=self.served.limits.client_timeout_ms / 1000 or None,
            meter=self.meter,
        )
        try:
            await _CALLS[path](frontend.service, passage.exchange, terms)
        except TorchLoomError as error:
            if self.reply.exchange.has_begun:
                raise  # the connection is cut: the status cannot be taken back
            if error.status >= _FIRST_OURS:
                raise say(error, self.call, frontend, self.request.id) from error
            return passage.refuse(error)
        return None


def _list(frontend: Frontend, served: Served, language: LanguageModel) -> Answer:
    """List the model by all its names, and its adapters."""
    status = frontend.catalog.status(served)
    make = partial(
        ModelCard,
        ready=status is not None and status.state in SERVING,
        created=int(frontend.service.created_at),
    )
    cards = [make(id=name, name=name) for name in language.names]
    cards += [
        make(id=name, name=name, parent=language.names[0])
        for name in _adapters(frontend, served, language)
    ]
    body = to_json(ModelCards(data=cards, models=language.names))
    return Answer(body=body, content_type=JSON)


def _to_label(frontend: Frontend, served: Served, language: LanguageModel, name: str) -> str:
    """Give the label of what a request names, in the registry. Raises UnknownModel."""
    label = f"{served.name}@{served.number}"
    if name in (*language.names, served.name):
        return label
    adapters = _adapters(frontend, served, language)
    if name in adapters:
        return f"{label}:{adapters[name]}"
    known = [*language.names, *adapters]
    message = f"The model {name!r} does not exist at this address.{nearest(name, known)}"
    raise UnknownModel(message)


def _adapters(frontend: Frontend, served: Served, language: LanguageModel) -> dict[str, str]:
    """Give the model's adapters, those that were loaded since included.

    By the name that requests have for each; its value is the registry's.
    """
    status = frontend.catalog.status(served)
    if status is None:
        return {}
    own = {there: here for here, there in language.adapter_names.items()}
    return {own.get(entry.name, entry.name): entry.name for entry in adapters_of(status)}
