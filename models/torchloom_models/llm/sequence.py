"""Sequence: one request, from its prompt to its last token. Knows no batch and no tensors."""

from __future__ import annotations

import random
from collections.abc import Sequence as Tokens
from typing import TYPE_CHECKING, Literal

from torchloom_models.llm.adapter.adapter import NO_PLACE, Adapter
from torchloom_models.llm.cache.block_pool import ROOT
from torchloom_models.llm.detokenizer import Detokenizes
from torchloom_models.llm.logprob.report import LogprobReport
from torchloom_models.llm.notation import PLAIN, Notation
from torchloom_models.llm.prompt_lookup import PromptLookup
from torchloom_models.llm.sampling_params import SamplingParams
from torchloom_models.llm.stop import StopMatcher


if TYPE_CHECKING:
    from torchloom_models.llm.grammar.state import GrammarState

FinishReason = Literal["stop", "length"]


class Sequence:
    """A prompt, the tokens written so far, and the text that may be sent.

    `ids` are all its tokens, prompt and answer. The scheduler keeps `blocks`, which hold the keys
    and values of the first `num_held` of them, and `content`, what the full ones among them are
    published under; `num_cached` tokens of the prompt had been run for another sequence. `lookup`
    guesses its next tokens, where anything does; `report` tells how likely its tokens were, where
    that is asked. `adapter` writes its answer; None is the model as it is. One with a `constraint`
    has a `grammar`, which says what may follow, before it is run. `calls` tells calls of tools from
    text, where there are tools.
    `finish_reason` is None until the end. `max_tokens` is what the parameters and the context
    allow.
    """

    __slots__ = (
        "_detokenizer",
        "_drawn",
        "_end_tokens",
        "_is_put_back",
        "_matcher",
        "_random",
        "_sent",
        "adapter",
        "blocks",
        "calls",
        "constraint",
        "content",
        "finish_reason",
        "grammar",
        "has_begun",
        "ids",
        "lookup",
        "max_tokens",
        "num_cached",
        "num_held",
        "num_published",
        "params",
        "prompt",
        "report",
        "task_id",
        "tokens",
    )

    def __init__(
        self,
        task_id: int,
        prompt: Tokens[int],
        params: SamplingParams,
        *,
        max_tokens: int,
        end_tokens: frozenset[int],
        detokenizer: Detokenizes,
        notation: Notation = PLAIN,
        adapter: Adapter | None = None,
    ) -> None:
        self.task_id = task_id
        self.prompt = prompt
        self.params = params
        self.max_tokens = max_tokens
        self.tokens: list[int] = []
        self.ids = list(prompt)
        self.blocks: list[int] = []
        self.num_held = 0
        self.num_cached = 0
        self.has_begun = False
        self.num_published = 0
        self.adapter = adapter
        self.content = self.root
        self.lookup: PromptLookup | None = None
        self.constraint = notation.constraint
        self.calls = notation.calls
        self.grammar: GrammarState | None = None
        self.report: LogprobReport | None = None
        self.finish_reason: FinishReason | None = None
        self._end_tokens = frozenset() if params.ignore_eos else end_tokens
        self._detokenizer = detokenizer
        self._matcher = StopMatcher(params.stop)
        self._random = random.Random(params.seed)  # noqa: S311 - it draws tokens, not secrets
        #: What was drawn since the last token; negative: nothing.
        self._drawn = -1.0
        self._is_put_back = False
        self._sent: list[str] = []

    @property
    def root(self) -> int:
        """The content that stands before its first token: another one for each adapter."""
        return ROOT if self.adapter is None else self.adapter.root

    @property
    def place(self) -> int:
        """The place of its adapter, or NO_PLACE."""
        return NO_PLACE if self.adapter is None else self.adapter.place

    @property
    def length(self) -> int:
        """Tokens of prompt and answer together."""
        return len(self.ids)

    @property
    def num_left(self) -> int:
        """Tokens that are still to be run before the next can be drawn."""
        return len(self.ids) - self.num_held

    @property
    def text(self) -> str:
        """What was sent so far."""
        return "".join(self._sent)

    @property
    def may_end(self) -> bool:
        """Whether `min_tokens` are written."""
        return len(self.tokens) >= self.params.min_tokens

    def draw(self) -> float:
        """Give the next number of this sequence's own random stream, in [0, 1): one a token."""
        if not self._is_put_back:
            self._drawn = self._random.random()
        self._is_put_back = False
        return self._drawn

    def put_back(self) -> None:
        """Let a number that no token was drawn by be the next again."""
        self._is_put_back = self._drawn >= 0

    def append(self, token: int) -> str:
        """Take the next token; give the text that may be sent now. May set `finish_reason`."""
        self._drawn, self._is_put_back = -1.0, False
        self.tokens.append(token)
        self.ids.append(token)
        if self.grammar is not None:
            self.grammar.accept(token)
        if token in self._end_tokens:
            return self._finish("stop", "")
        text = self._detokenizer.push(token)
        if text:
            text, is_stopped = self._match(text)
            if is_stopped:
                self.finish_reason = "stop"
        if self.finish_reason is None and self.grammar is not None and self.grammar.is_over:
            # Nothing more may follow, whatever `min_tokens` and `ignore_eos` say.
            return self._finish("stop", text)
        if self.finish_reason is None and len(self.tokens) >= self.max_tokens:
            return self._finish("length", text)
        if text:
            self._sent.append(text)
        return text

    def _match(self, text: str) -> tuple[str, bool]:
        # Text written before `min_tokens` can neither be nor begin a stop string.
        return self._matcher.push(text) if self.may_end else (text, False)

    def _finish(self, reason: FinishReason, text: str) -> str:
        self.finish_reason = reason
        text += self._matcher.flush()
        self._sent.append(text)
        return text

    def __repr__(self) -> str:
        """Say where it stands."""
        place = f"{self.num_held} held in blocks {self.blocks}" if self.blocks else "waiting"
        state = self.finish_reason or place
        return f"<Sequence {self.task_id}: {len(self.prompt)}+{len(self.tokens)} tokens, {state}>"
