"""Engines that stand in for a language model, an embedder and a diffusion pipeline."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from api_fakes.engines import Endless
from api_fakes.engines import open_handler as open_handler  # noqa: PLC0414 - opened by name
from torchloom.device import Device
from torchloom.engine import BatchEngine, Chunk, Engine, Event, Failure, Result, Room, Values, Work
from torchloom.errors import InputTooLong, InvalidInput, InvalidModel, TaskFailed


class Writer:
    """Says the last message, or the prompt, back: a word a step, up to `max_tokens` words.

    "params" says its params; "call" calls a function; "refuse" is refused; "break" fails after its
    first word; "fail" before it. Prompts count a token a word. Adapters from `bad` do not load. Log
    probabilities, where they are asked for, are -1, -2 and so on, of a token a word.
    """

    device = "cpu"

    def __init__(self) -> None:
        self._tasks: dict[int, tuple[str, list[str], list[str], int]] = {}
        self._params: dict[int, Values] = {}

    def room(self) -> Room:
        """Say how much it can hold."""
        return Room(max_tasks=256, is_continuous=True)

    def admit(self, work: Work) -> None:
        """Take a task in."""
        messages = work.inputs.get("messages")
        asked = str(
            messages[-1]["content"] if isinstance(messages, list) else work.inputs["prompt"]
        )
        if asked == "refuse":
            raise InputTooLong("The prompt has 9 tokens, but this model holds 8.")
        said = json.dumps(dict(work.params), sort_keys=True) if asked == "params" else asked
        words = [f"{word} " for word in said.split()]
        most = int(str(work.params.get("max_tokens", 100)))
        self._tasks[work.task_id] = (asked, words, [], most)
        self._params[work.task_id] = work.params

    def step(self) -> Iterable[Event]:
        """Say one word for each task."""
        for task, (asked, words, said, most) in list(self._tasks.items()):
            if asked == "fail" or (asked.startswith("break") and said):
                self.cancel(task)
                yield Failure(task, TaskFailed("The model broke."))
            elif asked == "call":
                self.cancel(task)
                yield from _call(task, self._params[task])
            elif len(said) == min(most, len(words)):
                told = _tell(self._params[task], asked, said)
                self.cancel(task)
                outputs = _outputs(asked, said, is_whole=len(said) == len(words))
                yield Result(task, {**outputs, **told})
            else:
                said.append(words[len(said)])
                told = _tell(self._params[task], asked, said)
                if "logprobs" in told:
                    told["logprobs"] = told["logprobs"][-1:]
                if len(said) > 1:
                    told.pop("prompt_logprobs", None)
                yield Chunk(task, {"text": said[-1], **told})

    def cancel(self, task_id: int) -> None:
        """Forget a task."""
        self._tasks.pop(task_id, None)

    def apply_setting(self, key: str, value: object) -> None:
        """Take an adapter, unless it is bad."""
        if isinstance(value, dict) and value["source"] == "bad":
            raise InvalidModel(f"{key} was not loaded.")

    def close(self) -> None:
        """Hold nothing."""


def _tell(params: Values, asked: str, said: list[str]) -> dict[str, list[dict[str, object]]]:
    told = {}
    if "logprobs" in params:
        told["logprobs"] = _to_entries(said, int(str(params["logprobs"])))
    if "prompt_logprobs" in params:
        words = [f" {word}" for word in asked.split()]
        entries = _to_entries(words, int(str(params["prompt_logprobs"])))
        entries[0] |= {"logprob": None, "top_logprobs": []}
        told["prompt_logprobs"] = entries
    return told


def _to_entries(tokens: list[str], num_top: int) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = []
    offset = 0
    for number, token in enumerate(tokens, start=1):
        top = [_to_entry(f"{token}{rank}", -float(rank)) for rank in range(num_top)]
        entry = _to_entry(token, -float(number))
        entries.append({**entry, "top_logprobs": top, "offset": offset})
        offset += len(token)
    return entries


def _to_entry(token: str, logprob: float) -> dict[str, object]:
    return {"id": len(token), "token": token, "bytes": list(token.encode()), "logprob": logprob}


def _outputs(asked: str, said: list[str], *, is_whole: bool) -> Values:
    usage = {"prompt": len(asked.split()), "cached": 0, "completion": len(said)}
    reason = "stop" if is_whole else "length"
    return {"text": "".join(said), "finish_reason": reason, "usage": usage}


def _call(task: int, params: Values) -> Iterable[Event]:
    told = _tell(params, "call", ["<call>", "f"])
    head: dict[str, object] = {"id": "c1", "type": "function"}
    name, arguments = {"name": "f", "arguments": ""}, {"arguments": '{"a": 1}'}
    yield Chunk(task, {"tool_calls": [{"index": 0, **head, "function": name}], **told})
    yield Chunk(task, {"tool_calls": [{"index": 0, "function": arguments}]})
    outputs = {**_outputs("call", [], is_whole=True), "finish_reason": "tool_calls"}
    calls = [{**head, "function": {**name, **arguments}}]
    yield Result(task, {**outputs, **told, "tool_calls": calls})


def _embed(batch: Sequence[Work]) -> list[Values]:
    return [
        _to_vector(work.inputs["text"])
        if "text" in work.inputs
        else _to_vectors(work.inputs["texts"])
        for work in batch
    ]


def _to_vector(text: object) -> Values:
    many = _to_vectors([text])
    vectors = many["embeddings"]
    assert isinstance(vectors, np.ndarray)
    return {"embedding": vectors[0], "usage": many["usage"]}


def _to_vectors(texts: object) -> Values:
    assert isinstance(texts, list)
    vectors = np.array([[len(text), 0.5] for text in texts], np.float32)
    return {"embeddings": vectors, "usage": {"prompt": sum(len(text) for text in texts)}}


def _refuse_long(work: Work) -> None:
    texts = work.inputs.get("texts")
    if isinstance(texts, list) and "long" in texts and work.params.get("truncate") is False:
        raise InputTooLong("Text 0 has more than the 8 tokens that the model takes.")


def _paint(batch: Sequence[Work]) -> list[Values]:
    return [_to_picture(work) for work in batch]


def _to_picture(work: Work) -> Values:
    if work.inputs["prompt"] == "fail":
        raise TaskFailed("The model broke.")
    size = (int(str(work.params.get("width", 4))), int(str(work.params.get("height", 2))))
    info = PngInfo()
    info.add_text("asked", json.dumps({**work.inputs, **work.params}, sort_keys=True))
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "png", pnginfo=info)
    return {"image": file.getvalue(), "seed": work.params.get("seed", 7)}


def _refuse_large(work: Work) -> None:
    if work.params.get("width") == 999:
        raise InvalidInput("'width' is 999; this model draws multiples of 8 pixels.")


def open_writer(_config: Mapping[str, object], _device: Device, _report: object) -> Engine:
    """Say back what is asked."""
    return Writer()


def open_endless(_config: Mapping[str, object], _device: Device, _report: object) -> Engine:
    """Never come to an end."""
    return Endless()


def open_embedder(_config: Mapping[str, object], _device: Device, _report: object) -> Engine:
    """Give the length of each text, and a half."""
    return BatchEngine(_embed, max_tasks=8, validate=_refuse_long)


def _double(batch: Sequence[Work]) -> list[Values]:
    sizes.append(len(batch))
    return [{"y": np.asarray(work.inputs["x"]) * 2} for work in batch]


#: How many tasks each step of a doubler had.
sizes: list[int] = []


def _refuse_thirteen(work: Work) -> None:
    if np.any(np.asarray(work.inputs["x"]) == 13):
        raise InvalidInput("13 is not doubled.")


def open_doubler(_config: Mapping[str, object], _device: Device, _report: object) -> Engine:
    """Double `x`, unless it holds 13."""
    return BatchEngine(_double, max_tasks=8, validate=_refuse_thirteen)


def open_painter(_config: Mapping[str, object], _device: Device, _report: object) -> Engine:
    """Give pictures of one colour, of the size that is asked for, that hold what was asked."""
    return BatchEngine(_paint, max_tasks=8, validate=_refuse_large)
