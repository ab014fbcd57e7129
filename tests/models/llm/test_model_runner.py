"""ModelRunner: what slots hold is shared, also after its sequence ended, and changes no answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from adapter_files import greedy, merged, save_adapter
from tiny_model import LAYOUTS, drain, ends, load_reference, open_tiny, save_model

from torchloom.engine import Failure, Result, Work
from torchloom_models.llm import opening
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.scheduler import Budget


BEGINNING = "how many ships are in the harbour today? there are seven of them, old ones. " * 2

ENDS = ["", "the fox", "all of them are old, and the dog is lazy", "naïve", "a", "the dog"]

#: A number of rows is rounded up to a power of two: slots that are kept run along.
PADDED = {"backend": "eager", "dynamic": False}


def _serve(engine: LlmEngine, *tasks: tuple[str, dict[str, object]]) -> list[tuple[list[int], int]]:
    """Let tasks join a step apart; give the tokens of each, and how many were shared."""
    sequences = []
    for number, (prompt, params) in enumerate(tasks):
        given = {"max_tokens": 12 + 3 * number, "ignore_eos": True, **params}
        engine.admit(Work(number, {"prompt": prompt}, given))
        sequences.append(engine._sequences[number])
        engine.step()
        engine.check()
    assert all(isinstance(end, Result) for end in ends(drain(engine)).values())
    return [(sequence.tokens, sequence.num_cached) for sequence in sequences]


def _wanted(folder: Path, prompts: list[str]) -> list[list[int]]:
    model = load_reference(folder)
    return [greedy(model, prompt, 12 + 3 * number) for number, prompt in enumerate(prompts)]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_equals_generate_with_what_slots_keep(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From slots that are held and kept, beside others, in pieces, with rows that run along."""
    folder = save_model(tmp_path, layout)
    monkeypatch.setattr(opening, "_BUDGETS", {"cpu": Budget(alone=40, beside=24)})
    engine = open_tiny(folder, max_sequences=3, dtype="float32", compile=PADDED)
    prompts = [BEGINNING + end for end in ENDS]
    wanted = _wanted(folder, prompts)
    tasks = [(prompt, {}) for prompt in prompts]

    first = _serve(engine, *tasks)
    second = _serve(engine, *tasks)

    assert [tokens for tokens, _ in first] == wanted
    assert [tokens for tokens, _ in second] == wanted
    assert all(num_cached >= 32 for _, num_cached in second)
    assert any(len(set(tokens)) > 5 for tokens in wanted), "the model only repeats itself"


def test_goes_on_where_a_conversation_ended(llama: Path) -> None:
    """An answer that is sent back with the next question has been run already, but for its last."""
    engine = open_tiny(llama, max_sequences=2)
    engine.admit(Work(0, {"prompt": BEGINNING}, {"max_tokens": 8, "ignore_eos": True}))
    sequence = engine._sequences[0]
    drain(engine)
    before = [*sequence.ids]
    text = engine._reader._tokenizer.decode(before)

    ((_, num_cached),) = _serve(engine, (text + " and how old?", {}))

    assert num_cached >= len(sequence.prompt)
    assert num_cached <= len(before) - 1


def test_keeps_what_runs_along(llama: Path) -> None:
    """A slot between rows that run is written to by each pass, and yet holds what it held."""
    engine = open_tiny(llama, max_sequences=4, dtype="float32", compile=PADDED)
    prompts = [f"{word} {BEGINNING}" for word in ("seven", "the fox", "a", "old")]
    params: list[dict[str, object]] = [{"max_tokens": n} for n in (40, 2, 40, 40)]
    alone = _serve(engine, *zip(prompts, params, strict=True))
    assert engine.occupancy().blocks["kept"] == 4

    again = _serve(engine, *zip(prompts, params, strict=True))

    assert [tokens for tokens, _ in again] == [tokens for tokens, _ in alone]
    assert [num_cached for _, num_cached in alone] == [0, 0, 0, 0]
    assert all(num_cached >= 32 for _, num_cached in again)


def test_keeps_adapters_apart(llama: Path, tmp_path: Path) -> None:
    """Each shares what it has run itself, also after its slot ran along in another's passes."""
    folders = {name: save_adapter(tmp_path / name, llama, seed=n) for n, name in enumerate("ab")}
    sources = {name: str(folder) for name, folder in folders.items()}
    engine = open_tiny(llama, adapters=sources, max_sequences=4, dtype="float32", compile=PADDED)
    asked = [("seven", "b", 40), ("seven", "a", 2), ("seven", None, 40), ("old", None, 40)]
    tasks: list[tuple[str, dict[str, object]]] = []
    wanted = []
    for word, name, max_tokens in asked:
        params = {"max_tokens": max_tokens, **({"adapter": name} if name else {})}
        tasks.append((f"{word} {BEGINNING}", params))
        model = merged(llama, folders[name]) if name else load_reference(llama)
        wanted.append(greedy(model, tasks[-1][0], max_tokens))

    first = _serve(engine, *tasks)
    # More of what ended early, and whose slot ran along since.
    tasks[1][1]["max_tokens"] = 40
    second = _serve(engine, *tasks)

    assert [tokens for tokens, _ in first] == wanted
    wanted[1] = greedy(merged(llama, folders["a"]), tasks[1][0], 40)
    assert [tokens for tokens, _ in second] == wanted
    assert [num_cached for _, num_cached in first] == [0, 0, 0, 0]
    assert all(num_cached >= 32 for _, num_cached in second)


def test_scores_a_prompt_by_its_adapter(llama: Path, tmp_path: Path) -> None:
    """What a prompt's own probabilities are, and what is written after it."""
    folder = save_adapter(tmp_path / "a", llama)
    engine = open_tiny(llama, adapters={"a": str(folder)}, dtype="float32")
    model = merged(llama, folder)
    params = {"max_tokens": 12, "ignore_eos": True, "adapter": "a", "prompt_logprobs": 0}
    engine.admit(Work(0, {"prompt": BEGINNING}, params))
    sequence = engine._sequences[0]
    (end,) = ends(drain(engine)).values()

    assert isinstance(end, Result)
    assert sequence.tokens == greedy(model, BEGINNING, 12)
    ids = torch.tensor([sequence.prompt])
    with torch.inference_mode():
        table = model(input_ids=ids).logits[0].log_softmax(-1)
    wanted = [table[n, token].item() for n, token in enumerate(sequence.prompt[1:])]
    entries = end.outputs["prompt_logprobs"]
    assert isinstance(entries, list)
    assert [entry["logprob"] for entry in entries[1:]] == pytest.approx(wanted, abs=1e-3)


def test_shares_nothing_where_it_is_told_so(llama: Path) -> None:
    """By the model file, or by a request that wants to know of all tokens of its prompt."""
    engine = open_tiny(llama, max_sequences=2, prefix_cache=False)
    assert [_serve(engine, (BEGINNING, {}))[0][1] for _ in range(2)] == [0, 0]
    assert engine.occupancy().blocks == {"held": 0, "kept": 0, "free": 2}

    engine = open_tiny(llama, max_sequences=2)
    _serve(engine, (BEGINNING, {}))
    assert _serve(engine, (BEGINNING, {"prompt_logprobs": 0}))[0][1] == 0


def test_shares_nothing_that_is_broken(llama: Path) -> None:
    """A slot whose sequence came to NaN is wiped; the same prompt again is run whole, and well."""
    engine = open_tiny(llama, max_sequences=2)
    ((wanted, _),) = _serve(engine, (BEGINNING, {}))
    engine = open_tiny(llama, max_sequences=2)
    engine.admit(Work(0, {"prompt": BEGINNING}, {"max_tokens": 12}))
    engine.step()
    (slot,) = engine._sequences[0].blocks
    for buffer in engine._runner._cache._buffers:
        buffer[slot].fill_(float("nan"))
    assert isinstance(ends(drain(engine))[0], Failure)

    assert _serve(engine, (BEGINNING, {})) == [(wanted, 0)]


def test_makes_moves_again_that_raised(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pool believes and what the cache holds stay the same, whatever was cancelled."""
    engine = open_tiny(llama, max_sequences=2, dtype="float32")
    wanted = _serve(engine, (BEGINNING, {}))[0][0]
    other = BEGINNING[::-1]

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    engine.admit(Work(1, {"prompt": other}, {"max_tokens": 5}))
    with monkeypatch.context() as patch:
        patch.setattr(engine._runner, "move", fail)
        with pytest.raises(RuntimeError):
            engine.step()
    engine.cancel(1)
    engine.check()

    ((tokens, num_cached),) = _serve(engine, (BEGINNING, {}))

    assert tokens == wanted
    assert num_cached >= 32
