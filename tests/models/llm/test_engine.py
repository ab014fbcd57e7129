"""LlmEngine: equal to transformers, sequence by sequence, whatever else goes on."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_model import (
    LAYOUTS,
    drain,
    ends,
    generate,
    load_reference,
    make_tokenizer,
    open_tiny,
    save_model,
    text_of,
)
from transformers import PreTrainedModel

from torchloom.engine import Chunk, Failure, Result, Work
from torchloom.errors import InvalidInput, ModelLoadError, TaskFailed
from torchloom_models.llm import opening
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.scheduler import Budget


PROMPTS = [
    "the quick brown fox",
    "how many ships are in the harbour today? there are seven of them, and all of them are old",
    "naïve",
    "a b c d e f g",
    "seven of them",
]


@pytest.fixture
def engine(llama: Path) -> LlmEngine:
    """Give an engine on the tiny Llama, with four slots."""
    return open_tiny(llama, max_sequences=4)


def _expected(model: PreTrainedModel, prompt: str, max_tokens: int) -> list[int]:
    ids = make_tokenizer()(prompt, return_tensors="pt").input_ids
    output = model.generate(ids, max_new_tokens=max_tokens, do_sample=False, use_cache=True)
    return [int(token) for token in output[0, ids.shape[1] :]]


def _run_staggered(engine: LlmEngine, max_tokens: int) -> list[list[int]]:
    """Admit prompts between the steps of others; give the tokens of each."""
    sequences = []
    for number, prompt in enumerate(PROMPTS[:4]):
        engine.admit(Work(number, {"prompt": prompt}, {"max_tokens": max_tokens + number}))
        sequences.append(engine._sequences[number])
        for _ in range(number):
            engine.step()
            engine.check()
    drain(engine)
    return [sequence.tokens for sequence in sequences]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_equals_generate_in_any_mix(layout: str, tmp_path: Path) -> None:
    """Greedy answers are transformers' own, token for token, alone and beside others."""
    folder = save_model(tmp_path, layout)
    model, engine = load_reference(folder), open_tiny(folder, max_sequences=4)
    expected = [_expected(model, prompt, 30 + n) for n, prompt in enumerate(PROMPTS[:4])]

    assert _run_staggered(engine, 30) == expected
    assert any(len(set(tokens)) > 5 for tokens in expected), "the model only repeats itself"
    for prompt, tokens in zip(PROMPTS, expected, strict=False):
        result = generate(engine, prompt, max_tokens=len(tokens))
        assert isinstance(result, Result)
        text = make_tokenizer().decode(tokens, skip_special_tokens=True)
        # A character that lacks bytes at the very end is not sent.
        assert str(result.outputs["text"]).rstrip("\ufffd") == text.rstrip("\ufffd")


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_equals_generate_with_prompts_in_pieces(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt that is run piece by piece, beside others that write, comes to the same."""
    folder = save_model(tmp_path, layout)
    monkeypatch.setattr(opening, "_BUDGETS", {"cpu": Budget(alone=7, beside=3)})
    model, engine = load_reference(folder), open_tiny(folder, max_sequences=4)
    expected = [_expected(model, prompt, 20 + n) for n, prompt in enumerate(PROMPTS[:4])]

    assert _run_staggered(engine, 20) == expected


@pytest.mark.slow
def test_equals_generate_when_compiled(
    make_artefacts: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Compiled code, which writes to the cache in place, gives the same tokens."""
    folder = save_model(tmp_path / "model", "mistral")
    model = load_reference(folder)
    code = make_artefacts(tmp_path / "code")
    engine = open_tiny(folder, max_sequences=4, compile="inductor", artefacts=str(code))
    try:
        expected = [_expected(model, prompt, 20 + n) for n, prompt in enumerate(PROMPTS[:4])]
        assert _run_staggered(engine, 20) == expected
        states = {status.part: status.state for status in engine.code_status()}
        assert states == {"decode-one": "compiled", "decode-many": "compiled"}
    finally:
        engine.close()


@pytest.mark.slow
def test_serves_the_layout_of_llama_3_2_from_its_folder_alone(tmp_path: Path) -> None:
    """A folder of the full-size architecture needs nothing but its path: that is the one line."""
    engine = open_tiny(save_model(tmp_path, "llama_3_2"))

    engine.admit(Work(1, {"messages": [{"role": "user", "content": "how many?"}]}, {}))
    (end,) = ends(drain(engine)).values()

    assert isinstance(end, Result)
    assert engine._reader._end_tokens == {2, 5, 6}
    assert engine._runner.max_length == 512


def test_streams_what_it_answers(engine: LlmEngine) -> None:
    """The chunks put together are the text; counts and usage say how many tokens there were."""
    engine.admit(Work(7, {"prompt": PROMPTS[0]}, {"max_tokens": 12, "ignore_eos": True}))
    events = drain(engine)

    end = ends(events)[7]
    assert isinstance(end, Result)
    assert end.outputs["text"] == text_of(events, 7) != ""
    assert end.outputs["finish_reason"] == "length"
    num_prompt = len(make_tokenizer()(PROMPTS[0])["input_ids"])
    assert end.outputs["usage"] == {"prompt": num_prompt, "cached": 0, "completion": 12}
    assert end.counts == {"prompt_tokens": num_prompt, "completion_tokens": 12}
    assert events[-1] is end


def test_lets_sequences_join_and_leave(engine: LlmEngine) -> None:
    """Each answer is the same alone and among others that come and go; slots are used again."""
    limits = [3, 20, 9, 15, 6, 12, 4, 18]
    alone = [
        generate(engine, PROMPTS[n % 5], max_tokens=limit, ignore_eos=True)
        for n, limit in enumerate(limits)
    ]
    events = []
    waiting = list(enumerate(limits))
    while waiting or not engine.is_idle:
        if waiting and len(engine._sequences) < 4:
            number, limit = waiting.pop(0)
            params = {"max_tokens": limit, "ignore_eos": True}
            engine.admit(Work(number, {"prompt": PROMPTS[number % 5]}, params))
        events += engine.step()
        engine.check()

    together = ends(events)
    for number, single in enumerate(alone):
        assert isinstance(single, Result)
        end = together[number]
        assert isinstance(end, Result)
        assert end.outputs == single.outputs


def test_ends_at_an_end_token(llama: Path) -> None:
    """The end token ends the answer and is no part of its text, unless it is to be ignored."""
    model = load_reference(llama)
    engine = open_tiny(llama)
    tokens = _expected(model, PROMPTS[0], 20)
    place = next(n for n, token in enumerate(tokens) if n > 2 and token not in tokens[:n])
    engine._reader._end_tokens = frozenset({tokens[place]})

    ended = generate(engine, PROMPTS[0], max_tokens=20)
    ignoring = generate(engine, PROMPTS[0], max_tokens=20, ignore_eos=True)

    assert isinstance(ended, Result)
    assert isinstance(ignoring, Result)
    assert ended.outputs["finish_reason"] == "stop"
    assert ended.counts["completion_tokens"] == place + 1
    assert ended.outputs["text"] == make_tokenizer().decode(tokens[:place])
    assert ignoring.counts["completion_tokens"] == 20


def test_stops_before_a_stop_string_that_lies_over_tokens(engine: LlmEngine) -> None:
    """No part of the stop string is sent, wherever the borders of its tokens are."""
    whole = generate(engine, PROMPTS[1], max_tokens=30, ignore_eos=True)
    assert isinstance(whole, Result)
    text = str(whole.outputs["text"])
    for start in range(1, len(text) - 4, 3):
        stop = text[start : start + 4]
        engine.admit(
            Work(0, {"prompt": PROMPTS[1]}, {"max_tokens": 30, "ignore_eos": True, "stop": stop})
        )
        events = drain(engine)
        end = ends(events)[0]
        assert isinstance(end, Result)
        assert end.outputs["text"] == text_of(events, 0) == text[: text.index(stop)]
        assert end.outputs["finish_reason"] == "stop"


def test_gives_the_same_answer_for_a_seed_whatever_the_batch(engine: LlmEngine) -> None:
    """A seeded draw does not depend on who else is in the batch."""
    params = {"temperature": 1.2, "top_p": 0.95, "seed": 11, "max_tokens": 15}
    alone = generate(engine, PROMPTS[0], **params)
    for number, prompt in enumerate(PROMPTS[1:4], start=1):
        engine.admit(Work(number, {"prompt": prompt}, {"temperature": 1.0, "max_tokens": 20}))
        engine.step()
    engine.admit(Work(9, {"prompt": PROMPTS[0]}, params))

    end = ends(drain(engine))[9]

    assert isinstance(alone, Result)
    assert isinstance(end, Result)
    assert end.outputs == alone.outputs


def test_forgets_a_cancelled_sequence(engine: LlmEngine) -> None:
    """A cancelled sequence sends nothing more, before its prefill and after; blocks come back."""
    for number in range(4):
        engine.admit(Work(number, {"prompt": PROMPTS[number]}, {"max_tokens": 10}))
    engine.cancel(3)
    engine.step()
    running = next(n for n in range(3) if engine._sequences[n].blocks)
    engine.cancel(running)
    engine.cancel(99)
    engine.check()

    events = drain(engine)

    assert set(ends(events)) == {0, 1, 2} - {running}
    assert not [event for event in events if event.task_id in (3, running)]
    assert not engine._scheduler.running


def test_uses_a_slot_again_that_was_filled_to_its_end(llama: Path) -> None:
    """A sequence as long as the context leaves its slot to the next one."""
    engine = open_tiny(llama, max_sequences=2, max_length=64)
    full = generate(engine, PROMPTS[0], max_tokens=500, ignore_eos=True)
    again = generate(engine, PROMPTS[0], max_tokens=500, ignore_eos=True)

    assert isinstance(full, Result)
    assert isinstance(again, Result)
    usage = full.outputs["usage"]
    assert isinstance(usage, dict)
    assert usage["prompt"] + usage["completion"] == 64
    assert again.outputs == full.outputs


def test_fails_a_sequence_with_nan_alone(llama: Path) -> None:
    """NaN fails its own row; neighbours, and the next owner of the slot, get what they would."""
    engine = open_tiny(llama, max_sequences=2)
    good = generate(engine, PROMPTS[0], max_tokens=12, ignore_eos=True)
    engine.admit(Work(1, {"prompt": PROMPTS[1]}, {"max_tokens": 12, "ignore_eos": True}))
    engine.admit(Work(2, {"prompt": PROMPTS[0]}, {"max_tokens": 12, "ignore_eos": True}))
    while engine._scheduler._waiting:
        engine.step()
    (slot,) = engine._sequences[1].blocks
    for buffer in engine._runner._cache._buffers:
        buffer[slot].fill_(float("nan"))

    result = ends(drain(engine))
    engine.admit(Work(3, {"prompt": PROMPTS[2]}, {"max_tokens": 9, "ignore_eos": True}))
    engine.admit(Work(4, {"prompt": PROMPTS[0]}, {"max_tokens": 12, "ignore_eos": True}))
    later = ends(drain(engine))

    failure = result[1]
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, TaskFailed)
    assert isinstance(good, Result)
    for end in (result[2], later[4]):
        assert isinstance(end, Result)
        assert end.outputs == good.outputs
    assert isinstance(later[3], Result)


def test_fails_a_prompt_with_nan_before_its_end(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its slot is wiped at once, not only after the last of its pieces."""
    monkeypatch.setattr(opening, "_BUDGETS", {"cpu": Budget(alone=6, beside=6)})
    engine = open_tiny(llama, max_sequences=2)
    good = generate(engine, PROMPTS[1], max_tokens=6, ignore_eos=True)
    engine.admit(Work(1, {"prompt": PROMPTS[1]}, {"max_tokens": 6}))
    engine.step()
    (slot,) = engine._sequences[1].blocks
    for buffer in engine._runner._cache._buffers:
        buffer[slot].fill_(float("nan"))

    (event,) = engine.step()

    assert isinstance(event, Failure)
    assert engine.is_idle
    again = generate(engine, PROMPTS[1], max_tokens=6, ignore_eos=True)
    assert isinstance(good, Result)
    assert isinstance(again, Result)
    assert again.outputs == good.outputs


def test_gives_slots_back_after_a_step_that_raised(
    engine: LlmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a failing pass leaves behind is forgotten by cancel, and the engine goes on."""
    engine.admit(Work(1, {"prompt": PROMPTS[0]}, {"max_tokens": 5}))

    def fail(*_: object) -> torch.Tensor:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(engine._runner, "run", fail)
        with pytest.raises(RuntimeError):
            engine.step()
    engine.cancel(1)
    engine.check()

    assert engine.is_idle
    assert isinstance(generate(engine, PROMPTS[0], max_tokens=5), Result)


def test_keeps_slots_whole_under_random_joining_and_leaving(engine: LlmEngine) -> None:
    """After any order of admit, step and cancel, each slot is free or used once."""
    chance = random.Random(5)
    next_id = 0
    for _ in range(150):
        action = chance.random()
        if action < 0.35 and len(engine._sequences) < 4:
            params = {"max_tokens": chance.randrange(1, 15), "temperature": 1.0}
            engine.admit(Work(next_id, {"prompt": chance.choice(PROMPTS)}, params))
            next_id += 1
        elif action < 0.45 and engine._sequences:
            engine.cancel(chance.choice(list(engine._sequences)))
        else:
            engine.step()
        engine.check()
    drain(engine)
    assert not engine._scheduler.running


@pytest.mark.parametrize(
    ("inputs", "params", "says"),
    [
        ({}, {}, "neither"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "a"}]}, {}, "both"),
        ({"promt": "a"}, {}, "Did you mean 'prompt'?"),
        ({"prompt": 3}, {}, "must be text"),
        ({"prompt": ""}, {}, "no tokens"),
        ({"messages": []}, {}, "at least one message"),
        ({"prompt": "a"}, {"temperatur": 1}, "Did you mean 'temperature'?"),
        ({"prompt": "a"}, {"logit_bias": {"100000": 1}}, "100000"),
        ({"prompt": "the fox " * 300}, {}, "this model holds 256"),
    ],
)
def test_refuses_before_any_work(
    engine: LlmEngine, inputs: dict[str, object], params: dict[str, object], says: str
) -> None:
    """Input that cannot be served is refused by name, and takes no slot."""
    with pytest.raises(InvalidInput) as caught:
        engine.admit(Work(1, inputs, params))

    assert says in caught.value.message
    assert engine.is_idle


def test_ends_at_the_end_of_the_context(engine: LlmEngine) -> None:
    """max_tokens is cut to the room that the prompt leaves."""
    prompt = "the quick brown fox " * 12
    num_prompt = len(make_tokenizer()(prompt)["input_ids"])

    end = generate(engine, prompt, max_tokens=1000, ignore_eos=True)

    assert isinstance(end, Result)
    assert end.outputs["finish_reason"] == "length"
    assert end.counts["completion_tokens"] == 256 - num_prompt


def test_says_that_it_is_continuous(engine: LlmEngine) -> None:
    """Tasks join between steps, up to the number of slots."""
    assert engine.room().is_continuous
    assert engine.room().max_tasks == 4
    assert engine.device == "cpu"
    assert engine.step() == []


def test_sends_no_half_character(engine: LlmEngine) -> None:
    """Whatever bytes a random model writes, chunks hold whole characters and add up."""
    for number in range(4):
        params = {"temperature": 3.0, "seed": number, "max_tokens": 60, "ignore_eos": True}
        engine.admit(Work(number, {"prompt": PROMPTS[number]}, params))
    events = drain(engine)

    for number, end in ends(events).items():
        assert isinstance(end, Result)
        assert text_of(events, number) == end.outputs["text"]
    assert all(event.data["text"] for event in events if isinstance(event, Chunk))


def test_stops_the_start_without_weights(tmp_path: Path) -> None:
    """A folder with missing weights never serves, and says which."""
    from safetensors.torch import load_file, save_file  # noqa: PLC0415 - for this test alone

    folder = save_model(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.layers.1.mlp.up_proj.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelLoadError, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        open_tiny(folder)


def test_penalises_beside_others(engine: LlmEngine) -> None:
    """Penalties write to the logits of their own rows, in whatever mode the model gave them."""
    alone = generate(engine, PROMPTS[0], max_tokens=12)
    penalties = {"max_tokens": 12, "repetition_penalty": 1.5, "presence_penalty": 1.0}
    engine.admit(Work(1, {"prompt": PROMPTS[0]}, penalties))
    engine.admit(Work(2, {"prompt": PROMPTS[0]}, {"max_tokens": 12}))
    results = {event.task_id: event for event in drain(engine) if isinstance(event, Result)}

    assert isinstance(alone, Result)
    assert results[2].outputs["text"] == alone.outputs["text"]
    assert results[1].outputs["text"] != alone.outputs["text"]


class _Torn:
    """Stands for whatever a request brings along, and raises whenever it is used."""

    def __getattr__(self, name: str) -> object:
        raise ZeroDivisionError(name)


#: Ways of writing: the largest logit, drawn, and drawn with what was written before.
WAYS: list[dict[str, object]] = [
    {"temperature": 0},
    {"temperature": 1.1, "seed": 7},
    {"temperature": 0.9, "seed": 8, "frequency_penalty": 0.7, "top_k": 20},
]


@pytest.mark.parametrize("part", ["_random", "_detokenizer", "_matcher"])
def test_fails_a_sequence_alone_for_which_something_raises(engine: LlmEngine, part: str) -> None:
    """Drawing, text, stop strings: its neighbours, in mid-stream, write what they would alone."""
    length: dict[str, object] = {"max_tokens": 20, "ignore_eos": True}
    alone = [generate(engine, PROMPTS[n], **WAYS[n], **length) for n in range(3)]
    for number, way in enumerate([*WAYS, WAYS[1]]):
        engine.admit(Work(number, {"prompt": PROMPTS[number]}, {**way, **length}))
    events = [event for _ in range(5) for event in engine.step()]
    setattr(engine._sequences[3], part, _Torn())

    events += drain(engine)

    ended = ends(events)
    failure = ended.pop(3)
    assert isinstance(failure, Failure)
    assert "ZeroDivisionError" in failure.error.message
    assert [getattr(ended[n], "outputs", None) for n in range(3)] == [
        getattr(result, "outputs", "") for result in alone
    ]
    assert [text_of(events, n) for n in range(3)] == [
        getattr(result, "outputs", {}).get("text") for result in alone
    ]
    assert engine.is_idle
    blocks = engine.occupancy().blocks
    assert (blocks["held"], blocks["kept"] + blocks["free"]) == (0, 4)


def test_gives_the_error_of_our_own_as_it_is(engine: LlmEngine) -> None:
    """What says already what is wrong is passed on."""

    class Refusing:
        def push(self, _: int) -> str:
            raise InvalidInput("not like this")

    engine.admit(Work(1, {"prompt": PROMPTS[0]}, {"max_tokens": 5}))
    engine._sequences[1]._detokenizer = Refusing()  # type: ignore[assignment]

    (event,) = drain(engine)

    assert isinstance(event, Failure)
    assert isinstance(event.error, InvalidInput)


def test_refuses_a_cache_that_is_too_small(llama: Path) -> None:
    """Both figures; a larger one has as many slots as fit, and the engine takes no more tasks."""
    with pytest.raises(ModelLoadError, match=r"room for 100 tokens.*takes 128"):
        open_tiny(llama, max_sequences=4, max_length=128, kv_cache={"tokens": 100})

    engine = open_tiny(llama, max_sequences=4, max_length=128, kv_cache={"tokens": 300})

    assert engine.room().max_tasks == 2
    assert engine.notes[0].startswith("2 sequences at once, not 4")
    layers, heads, dim = 3, 2, 8
    assert engine.reserved_bytes() == 256 * layers * 2 * heads * dim * 4
    assert open_tiny(llama, max_length=128).reserved_bytes() == 0
