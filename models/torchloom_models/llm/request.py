"""RequestReader: turns a task's inputs and params into a Sequence, or refuses it. Runs no model."""

from __future__ import annotations

from collections.abc import Mapping

from torchloom.engine import Work
from torchloom.errors import InputTooLong, InvalidInput, nearest
from torchloom_models.llm.adapter import Adapter
from torchloom_models.llm.adapter_table import AdapterTable
from torchloom_models.llm.logprob_report import LogprobReport
from torchloom_models.llm.sampling_params import SamplingParams
from torchloom_models.llm.sequence import Sequence
from torchloom_models.llm.tokenizer import Tokenizer


_INPUTS = ("messages", "prompt")


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
        adapters: AdapterTable | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._defaults = defaults
        self._max_length = max_length
        self._vocabulary_size = vocabulary_size
        self._end_tokens = end_tokens
        self._adapters = adapters

    def read(self, work: Work) -> Sequence:
        """Give the sequence that a task asks for. Raises InvalidInput, by name, for a bad one."""
        adapter = self._find_adapter(work.params.get("adapter"))
        own = {name: value for name, value in work.params.items() if name != "adapter"}
        params = self._defaults.updated(own)
        self._check_bias(params)
        prompt = self._read_prompt(work.inputs)
        detokenizer = self._tokenizer.detokenizer()
        sequence = Sequence(
            work.task_id,
            prompt,
            params,
            max_tokens=self._fit(len(prompt), params.max_tokens),
            end_tokens=self._end_tokens,
            detokenizer=detokenizer,
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

    def _find_adapter(self, name: object) -> Adapter | None:
        if name is None:
            return None
        if not isinstance(name, str):
            raise InvalidInput(f"'adapter' must be a name, not {type(name).__name__}.")
        if self._adapters is None:
            message = (
                f"There is no adapter {name!r}: this model takes none. Its model file can name "
                "some under `adapters`."
            )
            raise InvalidInput(message)
        return self._adapters.find(name)

    def _check_bias(self, params: SamplingParams) -> None:
        beyond = [token for token in params.logit_bias if token >= self._vocabulary_size]
        if beyond:
            message = (
                f"Sampling parameter 'logit_bias' names token {beyond[0]}, but this model's tokens "
                f"are 0 to {self._vocabulary_size - 1}."
            )
            raise InvalidInput(message)

    def _read_prompt(self, inputs: Mapping[str, object]) -> list[int]:
        unknown = sorted(set(inputs) - set(_INPUTS))
        if unknown:
            raise InvalidInput(f"Unknown input {unknown[0]!r}.{nearest(unknown[0], _INPUTS)}")
        given = [name for name in _INPUTS if inputs.get(name) is not None]
        if len(given) != 1:
            number = "both" if given else "neither"
            raise InvalidInput(f"Give either 'prompt' or 'messages'; this task has {number}.")
        value = inputs[given[0]]
        tokens = self._encode(given[0], value)
        if not tokens:
            raise InvalidInput(f"The {given[0]!r} of this task comes to no tokens at all.")
        return tokens

    def _encode(self, name: str, value: object) -> list[int]:
        if name == "prompt":
            if not isinstance(value, str):
                raise InvalidInput(f"'prompt' must be text, not {type(value).__name__}.")
            return self._tokenizer.encode(value)
        if not isinstance(value, list | tuple) or not value:
            raise InvalidInput("'messages' must be a list of at least one message.")
        return self._tokenizer.encode_messages(value)

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
