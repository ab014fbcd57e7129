"""CallParser: an answer that comes in pieces, told apart into text and calls. Knows no tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torchloom_models.llm.stop import overlap
from torchloom_models.llm.tool.call_reader import CallReader
from torchloom_models.llm.tool.format import ToolFormat


@dataclass(slots=True)
class Call:
    """A call, as far as it has come."""

    id: str
    name: str
    arguments: str = ""

    def to_document(self) -> dict[str, object]:
        """Write it as OpenAI does."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


class CallParser:
    """Text is passed on; calls are told by their name first, then by pieces of their arguments.

    What looks like a call and is none is text, as long as nothing of it was told. `names` are the
    tools there are: a call without marks must be one of theirs. With `is_single` nothing follows
    on the first call.
    """

    def __init__(self, form: ToolFormat, names: frozenset[str], *, is_single: bool) -> None:
        self.calls: list[Call] = []
        self._format = form
        self._names = names
        self._is_single = is_single
        self._state: Literal["text", "between", "call"] = "text"
        self._said: list[str] = []
        self._held = ""
        self._has_mark = False
        self._end = ""
        self._reader: CallReader | None = None
        self._is_open = False
        self._is_told = False
        self._is_after_call = False
        self._news: list[dict[str, object]] = []

    @property
    def text(self) -> str:
        """All that is no call."""
        return "".join(self._said)

    @property
    def is_full(self) -> bool:
        """Whether nothing more is wanted: the one call is whole."""
        return self._is_single and bool(self.calls) and self._reader is None

    def push(self, text: str) -> list[dict[str, object]]:
        """Take more of the answer; give what can be told: `text`, or a list of `tool_calls`."""
        for char in text:
            if self.is_full:
                break
            if self._state == "text":
                self._read_text(char)
            elif self._state == "between":
                self._read_between(char)
            else:
                self._read_call(char)
        return self._take_news()

    def finish(self) -> list[dict[str, object]]:
        """Give what is left: a call that has not been told is text."""
        is_after_call = self._state == "between" and self._is_told
        if not is_after_call and not self._is_open:
            self._say(self._held)
        self._held = ""
        return self._take_news()

    def _read_text(self, char: str) -> None:
        if self._is_after_call and char.isspace():
            return
        self._is_after_call = False
        self._held += char
        if self._format.is_bare and char == "{" and not self._held[:-1].strip() and not self._said:
            self._has_mark = False
            self._begin_call(char)
        elif self._held.endswith(self._format.begin):
            self._state, self._has_mark, self._end = "between", True, ""
        else:
            keep = overlap(self._held, self._format.begin)
            # White space before a call is not worth a message.
            head = self._held[: len(self._held) - keep].rstrip()
            self._say(head)
            self._held = self._held[len(head) :]

    def _read_between(self, char: str) -> None:
        self._held += char
        self._end += char
        if self._end == self._format.end:
            self._leave()
        elif self._format.end.startswith(self._end):
            pass
        elif char == "{":
            self._begin_call(char)
        elif char.isspace() or char in self._format.fillers:
            self._end = ""
        else:
            self._give_up()

    def _begin_call(self, char: str) -> None:
        self._state, self._reader, self._is_open = "call", CallReader(), False
        self._reader.push(char)

    def _read_call(self, char: str) -> None:
        reader = self._reader
        assert reader is not None
        self._held += char
        reader.push(char)
        if reader.is_broken or not self._tell(reader):
            self._give_up()
        elif reader.is_done:
            self._state, self._reader, self._end = "between", None, ""
            self._held, self._is_open = "", False

    def _tell(self, reader: CallReader) -> bool:
        """Tell what is new of a call, once it has a name; say whether it may be one."""
        if reader.name is None:
            return True
        if not self._is_open:
            if not self._has_mark and reader.name not in self._names:
                return False
            self.calls.append(Call(self._format.make_id(), reader.name))
            self._add_call({**self.calls[-1].to_document()})
            self._is_open = self._is_told = True
        new = reader.take()
        if new:
            self.calls[-1].arguments += new
            self._add_arguments(new)
        return True

    def _give_up(self) -> None:
        """Go on with text: what was held is text as well, unless something of it was told."""
        held = "" if self._is_open else self._held
        if self._is_told:
            held = held.lstrip()
        self._leave()
        self._is_after_call = self._is_after_call and not held
        self._say(held)

    def _leave(self) -> None:
        self._state, self._reader, self._held = "text", None, ""
        self._is_after_call = self._is_told
        self._has_mark = self._is_told = self._is_open = False

    def _say(self, text: str) -> None:
        if text:
            self._said.append(text)
            self._news.append({"text": text})

    def _add_call(self, document: dict[str, object]) -> None:
        entry = {"index": len(self.calls) - 1, **document}
        last = self._news[-1].get("tool_calls") if self._news else None
        if isinstance(last, list):
            last.append(entry)
        else:
            self._news.append({"tool_calls": [entry]})

    def _add_arguments(self, text: str) -> None:
        """Tell more of the last call, in one piece with what has not been taken yet."""
        last = self._news[-1].get("tool_calls") if self._news else None
        function = last[-1]["function"] if isinstance(last, list) else {}
        if "name" not in function and "arguments" in function:
            function["arguments"] += text
        else:
            self._add_call({"function": {"arguments": text}})

    def _take_news(self) -> list[dict[str, object]]:
        news, self._news = self._news, []
        return news
