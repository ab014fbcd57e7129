"""LogprobReport: what one sequence tells of how likely its tokens were. Knows no tensors.

Each token is noted once, when it is drawn, and told with the text that it is part of: never later
than all of that text, and earlier only where a stop string holds some of it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Tokens
from typing import Final

from torchloom_models.llm.detokenizer import Detokenizes
from torchloom_models.llm.token_text import TokenTexts


#: What stands for minus infinity, which JSON has not; OpenAI's number.
_LOWEST: Final = -9999.0

#: A token, as the kind's published table has it.
Entry = dict[str, object]

#: Tokens and their log probabilities, the likeliest first.
Ranking = Iterable[tuple[int, float]]


class LogprobReport:
    """Tokens of the answer and of the prompt, with so many of the likeliest instead of each.

    `num_top` None leaves the answer's tokens out, `num_prompt_top` None the prompt's. Of the first
    token of a prompt nothing is known: its `logprob` is null.
    """

    def __init__(
        self,
        *,
        num_top: int | None,
        num_prompt_top: int | None,
        prompt: Tokens[int],
        texts: TokenTexts,
        detokenizer: Detokenizes,
    ) -> None:
        self.num_top = num_top
        self.num_prompt_top = num_prompt_top
        self._num_prompt = len(prompt)
        self._texts = texts
        self._detokenizer = detokenizer
        self._entries: list[Entry] = []
        self._num_told = 0
        self._prompt: list[Entry] = []
        self._is_prompt_told = num_prompt_top is None
        if num_prompt_top is not None:
            self._prompt.append({**self._name(prompt[0]), "logprob": None, "top_logprobs": []})

    @property
    def lacks_prompt(self) -> bool:
        """Whether tokens of the prompt are still to be noted."""
        return self.num_prompt_top is not None and len(self._prompt) < self._num_prompt

    @property
    def num_prompt_noted(self) -> int:
        """How many tokens of the prompt have been noted."""
        return len(self._prompt)

    def note(self, token: int, logprob: float, ranking: Ranking) -> None:
        """Note a token of the answer, before it becomes text."""
        offset = self._detokenizer.num_given
        self._entries.append({**self._entry(token, logprob, ranking), "offset": offset})

    def note_prompt(self, token: int, logprob: float, ranking: Ranking) -> None:
        """Note the next token of the prompt."""
        self._prompt.append(self._entry(token, logprob, ranking))

    def take(self, *, has_text: bool, is_over: bool) -> Mapping[str, object]:
        """Give what the next chunk holds besides; nothing where it may wait for one with text."""
        data: dict[str, object] = {}
        if not self._is_prompt_told:
            self._is_prompt_told = True
            data["prompt_logprobs"] = self._prompt
        if (has_text or is_over) and self._num_told < len(self._entries):
            data["logprobs"] = self._entries[self._num_told :]
            self._num_told = len(self._entries)
        return data

    @property
    def outputs(self) -> Mapping[str, object]:
        """Everything that was noted, as a result holds it."""
        outputs: dict[str, object] = {}
        if self.num_top is not None:
            outputs["logprobs"] = self._entries
        if self.num_prompt_top is not None:
            outputs["prompt_logprobs"] = self._prompt
        return outputs

    def _entry(self, token: int, logprob: float, ranking: Ranking) -> Entry:
        top = [{**self._name(each), "logprob": _bounded(value)} for each, value in ranking]
        return {**self._name(token), "logprob": _bounded(logprob), "top_logprobs": top}

    def _name(self, token: int) -> Entry:
        text, content = self._texts(token)
        return {"id": token, "token": text, "bytes": list(content)}


def _bounded(logprob: float) -> float:
    return max(logprob, _LOWEST)
