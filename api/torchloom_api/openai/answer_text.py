"""AnswerText: one text that several nodes write, maybe at once. Knows no run and no route."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from torchloom.engine import Values
from torchloom.errors import TaskFailed


@dataclass(slots=True)
class _Part:
    """What a node writes: `held` has not been told yet, because others come first."""

    name: str
    held: str = ""
    num_written: int = 0
    is_told: bool = False
    is_over: bool = False


class AnswerText:
    """The texts of some nodes in their order; each method gives what can be told by now.

    A node that writes while one before it is not over is held back; one that is skipped adds
    nothing. `finish_reason` is `length` once that was the reason of any of them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.finish_reason = "stop"
        self._parts = {name: _Part(name) for name in names}
        self._waiting = deque(self._parts.values())

    def add(self, name: str, text: str) -> str:
        """Take a piece of a node's text."""
        part = self._parts[name]
        part.held += text
        part.num_written += len(text)
        return self._tell()

    def finish(self, name: str, outputs: Values) -> str:
        """Take what a node gave in the end. Raises TaskFailed where that is no text."""
        part, text = self._parts[name], outputs.get("text")
        if not isinstance(text, str):
            message = f"Node {name!r} gave no text, which is the answer of this workflow."
            raise TaskFailed(message)
        if outputs.get("finish_reason") == "length":
            self.finish_reason = "length"
        # Put together the pieces are the text; what writes none gives all of it here.
        part.held += text[part.num_written :]
        return self.skip(name)

    def skip(self, name: str) -> str:
        """Note that nothing more comes of a node."""
        self._parts[name].is_over = True
        return self._tell()

    def start_over(self, name: str) -> None:
        """Forget what a node wrote. Raises TaskFailed if it has been told: that is for good."""
        part = self._parts[name]
        if part.is_told:
            message = f"Node {name!r} failed after a part of its answer had been sent."
            raise TaskFailed(message)
        part.held, part.num_written = "", 0

    def _tell(self) -> str:
        told: list[str] = []
        while self._waiting:
            part = self._waiting[0]
            told.append(part.held)
            part.is_told = part.is_told or bool(part.held)
            part.held = ""
            if not part.is_over:
                break
            self._waiting.popleft()
        return "".join(told)
