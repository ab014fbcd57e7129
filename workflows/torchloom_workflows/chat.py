"""Chat: how messages become a workflow's inputs, and whether it gives an answer to them.

The answer is the text of the nodes in `stream`, and the output `sources` is what it cites. Knows
no API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torchloom.document import Document
from torchloom.errors import Fault, nearest
from torchloom.signature import Schema
from torchloom_workflows.draft import SCOPE_HINTS
from torchloom_workflows.expression import Names, Parsed, parse_value
from torchloom_workflows.fit import check_types, check_value
from torchloom_workflows.reference import Sources, describe
from torchloom_workflows.schema_path import types_of
from torchloom_workflows.setting import to_mapping, to_names


@dataclass(slots=True)
class Chat:
    """The section `chat`, read: a value over `messages` for each input that it names."""

    values: dict[str, Parsed] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def read_chat(document: Document, written: object, inputs: Mapping[str, Schema]) -> Chat:
    """Read the section of a file, and check it against the inputs that the file declares."""
    chat = Chat()
    names = Names(others=frozenset({"messages"}), hints=SCOPE_HINTS)
    for name in to_mapping(written):
        place = document.part("chat", name)
        parsed = parse_value(place, names)
        chat.values[name] = parsed
        chat.faults += parsed.faults
        if name not in inputs:
            message = f"There is no input {name!r}.{nearest(name, inputs)}"
            chat.faults.append(document.fault(message, "chat", name, at_key=True))
        elif not parsed.faults:
            chat.faults += check_value(place, parsed, inputs[name], name)
    required = {name for name, schema in inputs.items() if "default" not in schema}
    for name in sorted(required - chat.values.keys()):
        message = f"The input {name!r} is missing: it has no default, and must come from the chat."
        chat.faults.append(document.fault(message, "chat"))
    return chat


def check_answer(
    document: Document, stream: object, outputs: Mapping[str, Parsed], sources: Sources
) -> Iterator[Fault]:
    """Find why there is no answer to a chat; `stream` is what the file has under that key."""
    if stream is None:
        message = "Nothing answers a chat here: name the node that writes the answer in `stream`."
        yield document.fault(message, "chat", at_key=True)
    for index, name in enumerate(to_names(stream)):
        draft = sources.drafts.get(name)
        if draft is None:
            continue
        path = ("stream", index) if isinstance(stream, list) else ("stream",)
        if draft.is_foreach:
            message = f"Node {name!r} has a `foreach`, and so writes no single answer to a chat."
            yield document.fault(message, *path)
        elif "text" not in draft.outputs and not draft.target.may_give_more:
            message = f"Node {name!r} ({draft.target.label}) gives no text to answer a chat with."
            yield document.fault(message, *path)
    cited = outputs.get("sources")
    if cited is not None:
        given = types_of(describe(cited, sources))
        yield from check_types(
            document.part("outputs", "sources"), given, {"type": "array"}, "sources"
        )
