"""Workflow input: what a request for text gives to a workflow. Knows no run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torchloom.errors import InvalidInput, nearest
from torchloom.graph import Graph
from torchloom_api.input import InputCheck
from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.message import Messages
from torchloom_api.openai.text_request import to_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """What a request says to whoever writes the answer.

    `messages` came in the field `place`. `params` are as a language model takes them; `fields`
    names those that the request has under another name. `tools` are inputs of one. `seed` is apart,
    as each choice has its own. `extras` are fields that nobody knows.
    """

    place: str
    messages: Messages
    params: Mapping[str, object]
    seed: int | None = None
    tools: Mapping[str, object] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    extras: Mapping[str, object] = field(default_factory=dict)


def to_inputs(graph: Graph, talk: Talk, check: InputCheck) -> dict[str, object]:
    """Give a workflow's inputs: by `chat`, then fields of the request that have an input's name.

    Raises InvalidRequest for parameters that the workflow does not take, and for inputs that do not
    pass its checks.
    """
    try:
        scope = {"messages": talk.messages}
        inputs = {name: value.evaluate(scope) for name, value in graph.chat.items()}
    except InvalidInput as error:
        raise _to_error(graph, error, talk.place) from None
    open_names = graph.signature.inputs.keys() - inputs.keys()
    params = {**talk.params, **talk.tools, **to_seed(talk.seed, 0)}
    for name in params:
        # Which tokens a workflow's answer has is known to its models alone.
        if name not in open_names or name == "logprobs":
            raise _to_refusal(graph, talk.fields.get(name, name), open_names)
    named = {**talk.extras, **params}
    inputs |= {n: named[n] for n in open_names if named.get(n) is not None}
    try:
        return graph.with_defaults(check.check(inputs))
    except InvalidInput as error:
        raise _to_error(graph, error, _find_place(error, graph, talk)) from None


def _find_place(error: InvalidInput, graph: Graph, talk: Talk) -> str:
    """Name the field of the request that an input came from."""
    pointers = [fault.pointer for fault in error.faults if fault.pointer]
    name = pointers[0].split("/")[1] if pointers else ""
    return talk.place if name in graph.chat or not name else talk.fields.get(name, name)


def _to_error(graph: Graph, error: InvalidInput, param: str) -> InvalidRequest:
    message = f"Workflow {graph.name!r}: {error.message}"
    return InvalidRequest(message, param=param, code="invalid_value")


def _to_refusal(graph: Graph, name: str, known: Collection[str]) -> InvalidRequest:
    message = f"The workflow {graph.name!r} takes no {name!r}: leave it out.{nearest(name, known)}"
    return InvalidRequest(message, param=name, code="unsupported_parameter")
