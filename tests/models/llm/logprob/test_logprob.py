"""Log probabilities: transformers' own, whatever else goes on in the engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_model import drain, ends, generate, load_reference, make_tokenizer, open_tiny, save_model

from torchloom.device import Device
from torchloom.engine import Chunk, Event, Failure, Result, Work
from torchloom.errors import InvalidInput
from torchloom_models.llm import opening, openvino_opening
from torchloom_models.llm.cache.block_pool import BlockPool
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.logprob.logprob import Logprobs
from torchloom_models.llm.paged_runner import PagedRunner
from torchloom_models.llm.sampler import Sampler
from torchloom_models.llm.scheduler import Budget


PROMPTS = [
    "the quick brown fox",
    "how many ships are in the harbour today? there are seven of them, and all of them are old",
    "naïve",
    "seven of them",
]

LLAMA = Path(__file__).parents[3] / "examples" / "tiny_models" / "tiny_llama"

LIMITS = {"max_tokens": 12, "ignore_eos": True}

Entries = list[dict[str, object]]


@pytest.fixture
def engine(llama: Path) -> LlmEngine:
    """Give an engine on the tiny Llama, with four slots."""
    return open_tiny(llama, max_sequences=4)


def _entries(end: object, name: str = "logprobs") -> Entries:
    assert isinstance(end, Result)
    entries = end.outputs[name]
    assert isinstance(entries, list)
    return entries


def _expected(folder: Path, prompt: str, tokens: list[int]) -> torch.Tensor:
    """Give transformers' distribution before each token of prompt and answer but the first."""
    ids = [*make_tokenizer()(prompt)["input_ids"], *tokens]
    with torch.inference_mode():
        logits = load_reference(folder)(torch.tensor([ids])).logits[0]
    return logits.float().log_softmax(-1)[:-1]


def _check(entries: Entries, table: torch.Tensor, num_top: int) -> None:
    """Compare entries with the distributions before each of them."""
    assert len(entries) == len(table) > 0
    for entry, row in zip(entries, table, strict=True):
        assert entry["logprob"] == pytest.approx(float(row[entry["id"]]), abs=1e-3)
        values = [top["logprob"] for top in entry["top_logprobs"]]
        assert values == pytest.approx(row.topk(num_top).values.tolist(), abs=1e-3)
        for top in entry["top_logprobs"]:
            assert top["logprob"] == pytest.approx(float(row[top["id"]]), abs=1e-3)


def _same(ours: Entries, others: Entries) -> None:
    for one, two in zip(ours, others, strict=True):
        assert one["id"] == two["id"]
        assert one["logprob"] == pytest.approx(two["logprob"], abs=1e-3)


def _told(events: list[Event], task_id: int, name: str = "logprobs") -> Entries:
    """Put together what chunks told."""
    chunks = [each for each in events if isinstance(each, Chunk) and each.task_id == task_id]
    return [entry for chunk in chunks for entry in chunk.data.get(name, ())]


@pytest.mark.parametrize("params", [{}, {"temperature": 1.5, "seed": 3, "top_k": 40}])
def test_gives_the_models_raw_distribution(
    llama: Path, engine: LlmEngine, params: dict[str, object]
) -> None:
    """Before temperature, limits, penalties and biases: as transformers has it."""
    end = generate(
        engine,
        PROMPTS[0],
        **LIMITS,
        logprobs=3,
        repetition_penalty=1.3,
        logit_bias={"9": 5},
        **params,
    )
    entries = _entries(end)
    tokens = [entry["id"] for entry in entries]

    _check(entries, _expected(llama, PROMPTS[0], tokens)[-12:], 3)


def test_reports_every_token_once_beside_those_that_ask_for_none(engine: LlmEngine) -> None:
    """Chunks together are the result; others get nothing; the batch changes nothing."""
    alone = [generate(engine, prompt, **LIMITS, logprobs=2) for prompt in PROMPTS]
    for number, prompt in enumerate(PROMPTS):
        asked = {"logprobs": 2} if number != 2 else {}
        engine.admit(Work(number, {"prompt": prompt}, {**LIMITS, **asked}))
        engine.step()
    events = drain(engine)
    together = ends(events)

    for number in (0, 1, 3):
        _same(_entries(together[number]), _entries(alone[number]))
        # The first step's chunks of the first tasks were not kept.
        told = _told(events, number)
        assert told == _entries(together[number])[12 - len(told) :]
    assert "logprobs" not in together[2].outputs
    assert not any("logprobs" in e.data for e in events if isinstance(e, Chunk) and e.task_id == 2)


def test_costs_nothing_where_nobody_asks(
    engine: LlmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No distribution is made of a batch in which nobody asks."""

    def fail(*_: object) -> None:
        raise AssertionError("nobody asked")

    monkeypatch.setattr(Logprobs, "__init__", fail)

    assert isinstance(generate(engine, PROMPTS[0], **LIMITS), Result)
    assert isinstance(generate(engine, PROMPTS[0], **LIMITS, logprobs=0), Failure)


def test_aligns_tokens_with_the_text(engine: LlmEngine) -> None:
    """Bytes of all chunks are those of the text; each begins where it says; none is late."""
    params = {"temperature": 2.5, "max_tokens": 60, "ignore_eos": True, "logprobs": 0, "seed": 5}
    engine.admit(Work(0, {"prompt": PROMPTS[0]}, params))
    events = drain(engine)
    end = ends(events)[0]
    assert isinstance(end, Result)
    text, entries = str(end.outputs["text"]), _entries(end)
    special = make_tokenizer().added_tokens_decoder
    plain = [entry for entry in entries if entry["id"] not in special]
    content = b"".join(bytes(entry["bytes"]) for entry in plain)

    assert _told(events, 0) == entries
    assert content.decode(errors="replace").rstrip("\ufffd") == text.rstrip("\ufffd")
    for entry in plain:
        if not entry["token"].startswith("\\x"):
            # Bytes before it that never became a character were not known to be none.
            assert text[entry["offset"] :].lstrip("\ufffd").startswith(entry["token"])
    length = 0
    for chunk in (event for event in events if isinstance(event, Chunk)):
        assert all(entry["offset"] >= length for entry in chunk.data.get("logprobs", ()))
        length += len(str(chunk.data["text"]))


def test_keeps_entries_beside_a_stop_string(engine: LlmEngine) -> None:
    """Text that is held back for a stop string loses no token, and none is told twice."""
    whole = generate(engine, PROMPTS[1], max_tokens=30, ignore_eos=True, logprobs=0)
    assert isinstance(whole, Result)
    text = str(whole.outputs["text"])
    for start in (5, 11, 17):
        stop = text[start : start + 4]
        params = {"max_tokens": 30, "ignore_eos": True, "stop": stop, "logprobs": 0}
        engine.admit(Work(0, {"prompt": PROMPTS[1]}, params))
        events = drain(engine)
        end = ends(events)[0]
        assert isinstance(end, Result)
        entries = _entries(end)

        assert _told(events, 0) == entries
        assert len(entries) == end.counts["completion_tokens"]
        _same(entries, _entries(whole)[: len(entries)])


def test_tells_the_end_token(engine: LlmEngine) -> None:
    """It is drawn as any other, and so there is one entry for each token that is counted."""
    first = _entries(generate(engine, PROMPTS[0], **LIMITS, logprobs=0))
    engine._reader._end_tokens = frozenset({int(first[4]["id"])})
    end = generate(engine, PROMPTS[0], max_tokens=12, logprobs=0)
    assert isinstance(end, Result)

    assert len(_entries(end)) == end.counts["completion_tokens"] <= 5
    assert _entries(end)[-1]["id"] == first[4]["id"]


@pytest.mark.parametrize("budget", [Budget(alone=512, beside=256), Budget(alone=7, beside=3)])
def test_scores_prompts(llama: Path, monkeypatch: pytest.MonkeyPatch, budget: Budget) -> None:
    """Every token of a prompt, whole or in pieces, alone and beside others; then the answer's."""
    monkeypatch.setattr(opening, "_BUDGETS", {"cpu": budget})
    engine = open_tiny(llama, max_sequences=4)
    long = " ".join([PROMPTS[1]] * 3)
    for number, prompt in enumerate([PROMPTS[0], long, PROMPTS[2], PROMPTS[3]]):
        asked = {"prompt_logprobs": 2, "logprobs": 1} if number % 2 else {}
        engine.admit(Work(number, {"prompt": prompt}, {**LIMITS, **asked}))
    events = drain(engine)
    results = ends(events)

    for number, prompt in ((1, long), (3, PROMPTS[3])):
        entries, answer = _entries(results[number], "prompt_logprobs"), _entries(results[number])
        table = _expected(llama, prompt, [entry["id"] for entry in answer])
        assert [entry["id"] for entry in entries] == make_tokenizer()(prompt)["input_ids"]
        assert entries[0]["logprob"] is None
        _check(entries[1:], table[: len(entries) - 1], 2)
        _check(answer, table[len(entries) - 1 :], 1)
        assert _told(events, number, "prompt_logprobs") == entries
    assert "prompt_logprobs" not in results[0].outputs
    plain = generate(engine, PROMPTS[0], **LIMITS)
    assert isinstance(plain, Result)
    assert plain.outputs == results[0].outputs


@pytest.mark.parametrize("asked", [{}, {"prompt_logprobs": 0}])
def test_writes_nothing_where_no_token_is_wanted(
    engine: LlmEngine, asked: dict[str, object]
) -> None:
    """`max_tokens: 0` runs the prompt and ends, beside others as well."""
    engine.admit(Work(1, {"prompt": PROMPTS[1]}, LIMITS))
    engine.step()
    engine.admit(Work(2, {"prompt": PROMPTS[0]}, {"max_tokens": 0, **asked}))
    results = ends(drain(engine))
    end = results[2]
    assert isinstance(end, Result)

    assert (end.outputs["text"], end.outputs["finish_reason"]) == ("", "length")
    assert end.counts["completion_tokens"] == 0
    assert ("prompt_logprobs" in end.outputs) == bool(asked)
    alone = generate(engine, PROMPTS[1], **LIMITS)
    assert isinstance(alone, Result)
    assert results[1].outputs == alone.outputs


def test_fails_a_prompt_with_nan_that_nothing_is_written_to(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes to no numbers is no answer, also where none is drawn from it."""
    engine = open_tiny(llama, max_sequences=2)
    run = engine._runner.run

    def broken(*arguments: object) -> torch.Tensor:
        return run(*arguments) * float("nan")

    monkeypatch.setattr(engine._runner, "run", broken)

    assert isinstance(generate(engine, PROMPTS[0], max_tokens=0, prompt_logprobs=1), Failure)


@pytest.mark.parametrize("value", [-1, 21, 1.5, True, "3"])
def test_refuses_what_is_out_of_range(engine: LlmEngine, value: object) -> None:
    """By name."""
    for name in ("logprobs", "prompt_logprobs"):
        with pytest.raises(InvalidInput, match=f"'{name}'"):
            engine.admit(Work(0, {"prompt": "a"}, {name: value}))


@pytest.mark.slow
@pytest.mark.parametrize("is_paged", [True, False])
def test_agrees_by_openvinos_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_paged: bool
) -> None:
    """In pages, with prefixes that are shared, and in slots: prompts in pieces, and answers."""
    pytest.importorskip("openvino")
    if not is_paged:
        monkeypatch.setattr(openvino_opening, "probe_windows", _refuse)
    folder = save_model(tmp_path / "model")
    engine = _open_openvino(folder, tmp_path)
    assert isinstance(engine._runner, PagedRunner) == is_paged
    again = "seven of them, and all of them are old. " * 4
    params = {"max_tokens": 40, "ignore_eos": True, "logprobs": 2, "prompt_logprobs": 1}
    for number in range(4):
        engine.admit(Work(number, {"prompt": again}, params))
    engine.step()
    engine.admit(Work(4, {"prompt": again}, {"max_tokens": 40, "ignore_eos": True, "logprobs": 2}))
    events = drain(engine)
    results = ends(events)

    for number in range(4):
        entries = _entries(results[number], "prompt_logprobs")
        answer = _entries(results[number])
        table = _expected(folder, again, [entry["id"] for entry in answer])
        _check(entries[1:], table[: len(entries) - 1], 1)
        _check(answer, table[len(entries) - 1 :], 2)
    assert len(_entries(results[4])) == 40
    assert _told(events, 4) == _entries(results[4])
    engine.close()


@pytest.mark.slow
def test_tells_no_token_twice_after_preemption(tmp_path: Path) -> None:
    """A sequence that gave its blocks back goes on where it was; so does a prompt's report."""
    pytest.importorskip("openvino")
    folder = save_model(tmp_path / "model")
    engine = _open_openvino(folder, tmp_path)
    # So few blocks that not all of them can run to their end at once.
    engine._scheduler._pool = BlockPool(6, engine._scheduler._pool.block_size)
    params = {"max_tokens": 70, "ignore_eos": True, "logprobs": 1, "prompt_logprobs": 1}
    for number in (0, 1, 3):
        engine.admit(Work(number, {"prompt": PROMPTS[number]}, params))
    events = drain(engine)

    assert engine._scheduler.num_preemptions > 0
    for number, end in ends(events).items():
        answer, entries = _entries(end), _entries(end, "prompt_logprobs")
        table = _expected(folder, PROMPTS[number], [entry["id"] for entry in answer])
        _check(entries[1:], table[: len(entries) - 1], 1)
        _check(answer, table[len(entries) - 1 :], 1)
        assert _told(events, number) == answer
        assert len(answer) == 70
    engine.close()


@pytest.mark.slow
def test_tells_the_same_of_guessed_tokens(tmp_path: Path) -> None:
    """The trained Llama copies from its prompt, several tokens a step: each is told once."""
    pytest.importorskip("openvino")
    passage = "The outer mole was built in 1887 by Corvan Ashdrift Bellweather the Elder."
    asked = f"[1] {passage}\nQuestion: Who built the outer mole?"
    said = [
        {"role": "system", "content": "Answer from the passages alone."},
        {"role": "user", "content": asked},
    ]
    params = {"max_tokens": 40, "temperature": 0, "logprobs": 2, "prompt_logprobs": 0}
    told, num_steps = [], []
    for config in ({}, {"speculation": {"prompt_lookup": 6}}):
        engine = _open_openvino(LLAMA, tmp_path, **config)
        engine.admit(Work(0, {"messages": said}, params))
        events: list[Event] = []
        num_steps.append(0)
        while not engine.is_idle:
            events += engine.step()
            num_steps[-1] += 1
        (end,) = ends(events).values()
        told.append((_entries(end), _entries(end, "prompt_logprobs")))
        assert _told(events, 0) == _entries(end)
        engine.close()

    assert num_steps[1] < num_steps[0]
    _same(told[1][0], told[0][0])
    _same(told[1][1][1:], told[0][1][1:])


def _refuse(*_: object) -> list[int]:
    raise NotImplementedError("the test wants the other")


def _open_openvino(folder: Path, tmp_path: Path, **config: object) -> LlmEngine:
    values = {
        "source": str(folder),
        "dtype": "float32",
        "artefacts": str(tmp_path / "code"),
        "max_sequences": 4,
        **config,
    }
    return opening.open_engine(values, Device.parse("openvino:CPU"), lambda *_: None)


def test_reads_the_logits_before_the_sampler_changes_them(llama: Path) -> None:
    """A ban shows in what is drawn, and not in what is told of it."""
    engine = open_tiny(llama, max_sequences=2)
    assert isinstance(engine._sampler, Sampler)
    first = _entries(generate(engine, PROMPTS[0], max_tokens=1, ignore_eos=True, logprobs=1))[0]
    bias = {str(first["id"]): -100}
    banned = _entries(
        generate(engine, PROMPTS[0], max_tokens=1, ignore_eos=True, logprobs=1, logit_bias=bias)
    )[0]

    assert banned["id"] != first["id"]
    assert banned["top_logprobs"][0]["id"] == first["id"]
    assert banned["top_logprobs"][0]["logprob"] == pytest.approx(first["logprob"], abs=1e-4)
