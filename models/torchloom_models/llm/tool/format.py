"""ToolFormat: how a family of models writes calls. Reads no text and knows no tokenizer.

The formats are those that the families' own chat templates show: `<tool_call>` of Hermes and Qwen,
bare JSON of Llama 3, `[TOOL_CALLS]` of Mistral.
"""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from torchloom.errors import InvalidInput
from torchloom_models.llm.grammar.constraint import Constraint, literal, schema_text
from torchloom_models.llm.grammar.space import JSON_SPACE
from torchloom_models.llm.tool.offer import Offer


FormatName = Literal["hermes", "llama3_json", "mistral"]

#: What `tool_format` in a model file may say.
FORMAT_NAMES: Final = get_args(FormatName)

#: Any text, and what does not begin with an object, as whoever reads calls sees white space.
_TEXT: Final = "/(?s:.*)/"
_TEXT_WITHOUT_OBJECT: Final = r"/[\s\x1c-\x1f]*([^\s\x1c-\x1f{](?s:.*))?/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFormat:
    """A call is `{"name": …, KEY: {…}}`, between marks.

    Calls are read from `begin` on: objects, with whitespace and `fillers` between them, up to
    `end`. With `is_bare` an answer that begins with an object is a call without `begin` too.

    They are written `opening`, which is empty or begins with `begin`, then calls, each in `around`,
    with `separator` between them if there may be several, then `closing`. `id_length` is how long
    an id is where that is fixed.
    """

    name: FormatName
    begin: str
    end: str = ""
    fillers: str = ""
    is_bare: bool = False
    key: str = "arguments"
    opening: str = ""
    around: tuple[str, str] = ("", "")
    separator: str = ""
    closing: str = ""
    id_length: int = 0

    @property
    def marks(self) -> tuple[str, ...]:
        """What may be a token of its own, which has no text elsewhere."""
        return tuple(mark for mark in (self.begin, self.end) if len(mark) > 1)

    def make_id(self) -> str:
        """Give an id that no other call has."""
        if not self.id_length:
            return f"call_{secrets.token_hex(12)}"
        letters = string.ascii_letters + string.digits
        return "".join(secrets.choice(letters) for _ in range(self.id_length))

    def constrain(self, offer: Offer, special: Mapping[str, int]) -> Constraint:
        """Give what an answer looks like that must call, or that may. Raises InvalidInput.

        One that may is text up to a call, with no more text behind: whatever would be read as a
        call is one. `special` are those of the marks that are special tokens.
        """
        calls = self._calls(offer, special)
        if offer.must_call:
            lines = [f"start: {_terms(self.opening, special)} {calls}"]
        else:
            lines = self._beginnings(calls, special)
        for number, tool in enumerate(offer.chosen):
            parameters = tool.parameters if offer.holds(tool) else {"type": "object"}
            lines += self._rules(number, tool.name, parameters, special)
        return Constraint("lark", "\n".join(lines), "What these tools take")

    def _calls(self, offer: Offer, special: Mapping[str, int]) -> str:
        """Write calls, as many as there may be, from behind the first mark to the end."""
        any_call = f"({' | '.join(f'call_{number}' for number in range(len(offer.chosen)))})"
        more = ""
        if offer.is_parallel and self.separator:
            more = f"({_terms(self.separator, special)} {any_call})*"
        return f"{any_call} {more} {_terms(self.closing, special)}"

    def _beginnings(self, calls: str, special: Mapping[str, int]) -> list[str]:
        """Write that an answer is text, or goes from text over to calls."""
        rest = _terms(self.opening.removeprefix(self.begin), special)
        ways = ["TEXT", f"mark {rest} {calls}", *([calls] if self.is_bare else [])]
        # A lazy rule ends where the mark first does. Spelled out it is read as a call as well.
        lines = [f"start: {' | '.join(ways)}", f"spelled[lazy]: TEXT {literal(self.begin)}"]
        token = f" | TEXT {_terms(self.begin, special)}" if self.begin in special else ""
        text = _TEXT_WITHOUT_OBJECT if self.is_bare else _TEXT
        return [*lines, f"mark: spelled{token}", f"TEXT: {text}"]

    def _rules(
        self,
        number: int,
        name: str,
        parameters: Mapping[str, object],
        special: Mapping[str, int],
    ) -> list[str]:
        schema_text(parameters, f"The parameters of the tool {name!r}")
        schema = json.dumps(
            {**parameters, "x-guidance": {"whitespace_pattern": JSON_SPACE}},
            ensure_ascii=False,
        )
        before, after = self.around
        head = f'{before}{{"name": {json.dumps(name)}, "{self.key}": '
        tail = _terms("}" + after, special)
        return [
            f"call_{number}: {_terms(head, special)} arguments_{number} {tail}",
            f"arguments_{number}: %json {schema}",
        ]


_FORMATS: Final[Mapping[str, ToolFormat]] = {
    each.name: each
    for each in (
        ToolFormat(
            name="hermes",
            begin="<tool_call>",
            end="</tool_call>",
            opening="<tool_call>",
            around=("\n", "\n</tool_call>"),
            separator="\n<tool_call>",
        ),
        ToolFormat(
            name="llama3_json",
            begin="<|python_tag|>",
            fillers=";",
            is_bare=True,
            key="parameters",
        ),
        ToolFormat(
            name="mistral",
            begin="[TOOL_CALLS]",
            end="]",
            fillers="[,",
            opening="[TOOL_CALLS][",
            separator=", ",
            closing="]",
            id_length=9,
        ),
    )
}


def pick_format(name: str | None, template: str | None) -> ToolFormat:
    """Give the format that a model file names, or else that of a chat template.

    Raises InvalidInput, for whoever sends tools, where the template knows none or no known format.
    """
    if template is None or not re.search(r"\btools\b", template):
        message = "This model's chat template knows no tools: leave 'tools' out, or use another."
        raise InvalidInput(message)
    if name is not None:
        return _FORMATS[name]
    found = _recognise(template)
    if found is None:
        message = (
            "This model's chat template writes calls in a way that is not known here: write "
            f"`tool_format:` into the model file ({', '.join(FORMAT_NAMES)})."
        )
        raise InvalidInput(message)
    return _FORMATS[found]


def _recognise(template: str) -> FormatName | None:
    if "[TOOL_CALLS]" in template:
        # Later models of the family write a name, `[ARGS]` and an object.
        return None if "[ARGS]" in template else "mistral"
    # Others, such as Qwen's coders, write XML between the same marks.
    if "<tool_call>" in template:
        return None if "<function=" in template else "hermes"
    is_llama = "<|python_tag|>" in template or re.search(r'"parameters\\?":', template)
    return "llama3_json" if is_llama else None


def _terms(text: str, special: Mapping[str, int]) -> str:
    """Write text in Lark's form, special tokens by their numbers."""
    if not text:
        return ""
    marks = "|".join(map(re.escape, special))
    parts = re.split(f"({marks})", text) if marks else [text]
    return " ".join(
        f"<[{special[part]}]>" if part in special else literal(part) for part in parts if part
    )
