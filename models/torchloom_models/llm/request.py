"""RequestReader: turns a task's inputs and params into a Sequence, or refuses it. Runs no model."""

from __future__ import annotations

from collections.abc import Mapping

from torchloom.engine import Work
from torchloom.errors import InputTooLong, InvalidInput, nearest
from torchloom_models.llm.adapter.adapter import Adapter
from torchloom_models.llm.adapter.table import AdapterTable
from torchloom_models.llm.detokenizer import Detokenizes
from torchloom_models.llm.grammar.constraint import Constraint
from torchloom_models.llm.logprob.report import LogprobReport
from torchloom_models.llm.notation import Notation
from torchloom_models.llm.sampling_params import SamplingParams
from torchloom_models.llm.sequence import Sequence
from torchloom_models.llm.tokenizer import Tokenizer
from torchloom_models.llm.tool.call_parser import CallParser
from torchloom_models.llm.tool.format import ToolFormat, pick_format
from torchloom_models.llm.tool.mark_detokenizer import MarkDetokenizer
from torchloom_models.llm.tool.offer import TOOL_INPUTS, Offer


_INPUTS = ("messages", "prompt")
_TOOL_INPUTS = tuple(TOOL_INPUTS)


class RequestReader:
    """Knows the limits that a request must keep to.

    `defaults` are the parameters of requests that say nothing else; `max_length` is the longest
    sequence, prompt and answer together.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        defaults: SamplingParams,
        max_length: int,
        vocabulary_size: int,
        end_tokens: frozenset[int],
        tool_format: str | None = None,
        adapters: AdapterTable | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._defaults = defaults
        self._max_length = max_length
        self._vocabulary_size = vocabulary_size
        self._end_tokens = end_tokens
        self._tool_format = tool_format
        #: Those that requests may name; None where the model takes none.
        self.adapters = adapters

    def read(self, work: Work) -> Sequence:
        """Give the sequence that a task asks for. Raises InvalidInput, by name, for a bad one."""
        adapter = self._find_adapter(work.params.get("adapter"))
        own = {name: value for name, value in work.params.items() if name != "adapter"}
        params = self._defaults.updated(own)
        self._check_bias(params)
        offer = Offer.from_inputs(work.inputs)
        notation, marks = self._notate(params, offer)
        prompt = self._read_prompt(work.inputs, offer)
        # What a chat says is a text of its own; what follows on raw text goes on from there.
        before = prompt if work.inputs.get("messages") is None else ()
        detokenizer: Detokenizes = self._tokenizer.detokenizer(before)
        if marks:
            detokenizer = MarkDetokenizer(detokenizer, marks)
        sequence = Sequence(
            work.task_id,
            prompt,
            params,
            max_tokens=self._fit(len(prompt), params.max_tokens),
            end_tokens=self._end_tokens,
            detokenizer=detokenizer,
            notation=notation,
            adapter=adapter,
        )
        if params.logprobs is not None or params.prompt_logprobs is not None:
            sequence.report = LogprobReport(
                num_top=params.logprobs,
                num_prompt_top=params.prompt_logprobs,
                prompt=prompt,
                texts=self._tokenizer.token_texts(),
                detokenizer=detokenizer,
            )
        return sequence

    def _notate(
        self, params: SamplingParams, offer: Offer | None
    ) -> tuple[Notation, Mapping[int, str]]:
        """Say how an answer is read, what it is held to, and which tokens mark calls."""
        asked = params.structured_outputs
        constraint = None if asked is None else Constraint.from_params(asked)
        if offer is None:
            return Notation(constraint=constraint), {}
        tool_format = pick_format(self._tool_format, self._tokenizer.tool_template)
        special = self._tokenizer.special_tokens(tool_format.marks)
        notation = Notation(
            constraint=_constrain(offer, tool_format, special, constraint),
            calls=CallParser(tool_format, offer.names, is_single=not offer.is_parallel),
        )
        return notation, {token: mark for mark, token in special.items()}

    def _find_adapter(self, name: object) -> Adapter | None:
        if name is None:
            return None
        if not isinstance(name, str):
            raise InvalidInput(f"'adapter' must be a name, not {type(name).__name__}.")
        if self.adapters is None:
            message = (
                f"There is no adapter {name!r}: this model takes none. Its model file can name "
                "some under `adapters`."
            )
            raise InvalidInput(message)
        return self.adapters.find(name)

    def _check_bias(self, params: SamplingParams) -> None:
        beyond = [token for token in params.logit_bias if token >= self._vocabulary_size]
        if beyond:
            message = (
                f"Sampling parameter 'logit_bias' names token {beyond[0]}, but this model's tokens "
                f"are 0 to {self._vocabulary_size - 1}."
            )
            raise InvalidInput(message)

    def _read_prompt(self, inputs: Mapping[str, object], offer: Offer | None) -> list[int]:
        known = (*_INPUTS, *_TOOL_INPUTS)
        unknown = sorted(set(inputs) - set(known))
        if unknown:
            raise InvalidInput(f"Unknown input {unknown[0]!r}.{nearest(unknown[0], known)}")
        given = [name for name in _INPUTS if inputs.get(name) is not None]
        if len(given) != 1:
            number = "both" if given else "neither"
            raise InvalidInput(f"Give either 'prompt' or 'messages'; this task has {number}.")
        value = inputs[given[0]]
        tokens = self._encode(given[0], value, offer)
        if not tokens:
            raise InvalidInput(f"The {given[0]!r} of this task comes to no tokens at all.")
        return tokens

    def _encode(self, name: str, value: object, offer: Offer | None) -> list[int]:
        if name == "prompt":
            if offer is not None:
                raise InvalidInput("'tools' go with 'messages': a chat template tells of them.")
            if not isinstance(value, str):
                raise InvalidInput(f"'prompt' must be text, not {type(value).__name__}.")
            return self._tokenizer.encode(value)
        if not isinstance(value, list | tuple) or not value:
            raise InvalidInput("'messages' must be a list of at least one message.")
        tools = [tool.document for tool in offer.tools] if offer is not None else []
        return self._tokenizer.encode_messages(value, tools)

    def _fit(self, prompt_length: int, wished: int | None) -> int:
        """Give the most tokens that the answer may have: those wished for, if there is room."""
        room = self._max_length - prompt_length
        if room < 1:
            message = (
                f"The prompt has {prompt_length} tokens, but this model holds {self._max_length}, "
                "the answer included. Shorten the prompt."
            )
            raise InputTooLong(message)
        return room if wished is None else min(wished, room)


def _constrain(
    offer: Offer, tool_format: ToolFormat, special: Mapping[str, int], constraint: Constraint | None
) -> Constraint | None:
    if constraint is not None:
        message = (
            "'structured_outputs' is the form of text, and so goes with no 'tools' that may be "
            "called: send one of both, or 'tool_choice' as 'none'."
        )
        raise InvalidInput(message)
    return tool_format.constrain(offer, special) if offer.is_held else None
