"""Answers that keep to a form: by a real engine, with whatever else an answer may ask for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import jsonschema_rs
import pytest
import torch
from tiny_model import VOCABULARY, drain, ends, generate, open_tiny, save_model, text_of

from torchloom.engine import Failure, Result, Work
from torchloom.errors import InvalidInput
from torchloom_models.llm import opening
from torchloom_models.llm.cache.block_pool import BlockPool
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.grammar.state import GrammarState
from torchloom_models.llm.scheduler import Budget


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "size": {"type": "integer", "minimum": 0, "maximum": 99},
        "kind": {"enum": ["ship", "café"]},
    },
    "required": ["name", "size", "kind"],
    "additionalProperties": False,
}
FORM = {"json": SCHEMA}
PLAIN = {"max_tokens": 15, "ignore_eos": True}


@pytest.fixture(scope="module")
def engine(llama: Path) -> Iterator[LlmEngine]:
    """Give an engine on the tiny Llama, whose weights are random, with four slots."""
    engine = open_tiny(llama, max_sequences=4)
    yield engine
    engine.close()


def _text(end: object) -> str:
    assert isinstance(end, Result), end
    return str(end.outputs["text"])


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"temperature": 1.5, "seed": 1},
        {"temperature": 3.0, "seed": 2, "top_k": 5},
        {"temperature": 2.0, "seed": 3, "top_p": 0.5, "min_p": 0.01},
        {"repetition_penalty": 1.8, "presence_penalty": 1.0, "frequency_penalty": 2.0},
        {"logit_bias": {str(token): 100 for token in range(60, 90)}},
        {"logit_bias": {"2": 100}},
        {"min_tokens": 200},
        {"ignore_eos": True},
        {"stop": ["zzzz"]},
    ],
)
def test_fits_the_schema_however_it_is_drawn(engine: LlmEngine, params: dict[str, object]) -> None:
    """Parameters choose among what may follow, and never beyond; a whole answer ends by itself."""
    end = generate(engine, "the fox", structured_outputs=FORM, **params)

    jsonschema_rs.validate(SCHEMA, json.loads(_text(end)))
    assert isinstance(end, Result)
    assert end.outputs["finish_reason"] == "stop"


def test_holds_the_end_back_where_more_may_follow(engine: LlmEngine) -> None:
    """`min_tokens` counts as far as the form has room for more, and no further."""
    form = {"regex": "[a-z]+"}
    short = generate(
        engine, "a", structured_outputs=form, logit_bias={"2": 100}, temperature=1, seed=1
    )
    longer = generate(
        engine, "a", structured_outputs=form, min_tokens=9, logit_bias={"2": 100}, max_tokens=40
    )
    fixed = generate(engine, "a", structured_outputs={"choice": ["abc"]}, min_tokens=30)

    assert isinstance(short, Result)
    assert isinstance(longer, Result)
    assert short.counts["completion_tokens"] == 2
    assert longer.counts["completion_tokens"] == 10
    assert _text(fixed) == "abc"


def test_says_when_it_was_cut(engine: LlmEngine) -> None:
    """`max_tokens` in the middle of a form is a length; at its very end it is none."""
    cut = generate(engine, "a", structured_outputs={"regex": "[a-z]{500}"}, max_tokens=7)
    whole = generate(engine, "a", structured_outputs={"regex": "[0-9]{3}"}, max_tokens=3)

    assert isinstance(cut, Result)
    assert isinstance(whole, Result)
    assert (cut.outputs["finish_reason"], cut.counts["completion_tokens"]) == ("length", 7)
    assert (whole.outputs["finish_reason"], len(_text(whole))) == ("stop", 3)


def test_stops_at_a_stop_string_within_a_form(engine: LlmEngine) -> None:
    """A stop string ends the answer wherever it comes: what was asked for first does not count."""
    form = {"choice": ["one, two"]}
    end = generate(engine, "a", structured_outputs=form, stop=", t")

    assert _text(end) == "one"


def test_leaves_others_as_they_are(engine: LlmEngine) -> None:
    """Answers with a form and without, in one batch, are those that each gives alone."""
    asked = [
        PLAIN,
        {"structured_outputs": FORM, "temperature": 1.0, "seed": 4},
        {"max_tokens": 15, "temperature": 1.0, "seed": 5},
        {"structured_outputs": {"regex": "(ab|cd){4}"}},
    ]
    alone = [_text(generate(engine, "seven of them", **each)) for each in asked]
    for number, each in enumerate(asked):
        engine.admit(Work(number, {"prompt": "seven of them"}, each))
    events = drain(engine)

    assert [_text(ends(events)[number]) for number in range(4)] == alone
    assert [text_of(events, number) for number in range(4)] == alone


def test_compiles_beside_the_steps_of_others(
    engine: LlmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever needs no grammar goes on while one is compiled, and whoever needs it waits."""
    compiler = engine._arrivals._compiler
    compile_it, release = compiler._compile, threading.Event()

    def compile_late(constraint: object) -> object:
        assert release.wait(60)
        return compile_it(constraint)

    monkeypatch.setattr(compiler, "_compile", compile_late)
    engine.admit(Work(1, {"prompt": "a"}, {"structured_outputs": {"regex": "x[yz]{3}"}}))
    engine.admit(Work(2, {"prompt": "a"}, {"structured_outputs": {"regex": "x[yz]{3}"}}))
    engine.admit(Work(3, {"prompt": "a"}, {"structured_outputs": {"regex": "x[yz]{4}"}}))
    engine.admit(Work(4, {"prompt": "a"}, PLAIN))
    events = []
    while 4 in engine._sequences:
        events += engine.step()
    assert engine.step() == []
    assert set(engine._sequences) == {1, 2, 3}
    # What waits for its grammar waits for no block.
    assert not engine.occupancy().is_full
    assert engine.occupancy().num_waiting == 0
    engine.cancel(3)
    release.set()
    events += drain(engine)

    assert set(ends(events)) == {1, 2, 4}
    assert all(re.fullmatch("x[yz]{3}", _text(ends(events)[number])) for number in (1, 2))


def test_keeps_grammars_that_were_asked_for_last(engine: LlmEngine) -> None:
    """One form is compiled once, and no more are kept than there is room for."""
    compiler = engine._arrivals._compiler
    compiler._max_kept = 3
    for number in range(5):
        generate(engine, "a", structured_outputs={"regex": f"v{number}"})
    kept = dict(compiler._kept)
    generate(engine, "a", structured_outputs={"regex": "v3"})

    assert [constraint.text for constraint in kept] == ["v2", "v3", "v4"]
    assert [constraint.text for constraint in compiler._kept] == ["v2", "v4", "v3"]
    assert all(compiler._kept[constraint] is kept[constraint] for constraint in kept)


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"regex": "(a"}, "unclosed group"),
        ({"json": {"not": {}}}, "/not"),
        ({"regex": "((a{100}){100}){100}"}, "too many expressions"),
    ],
)
def test_refuses_before_any_work(engine: LlmEngine, form: dict[str, object], says: str) -> None:
    """What shows only in compiling fails its own task, which holds nothing; asked again, too."""
    for _ in range(2):
        engine.admit(Work(1, {"prompt": "a"}, {"structured_outputs": form}))
        engine.admit(Work(2, {"prompt": "a"}, {"max_tokens": 3, "ignore_eos": True}))
        found = ends(drain(engine))
        failure = found[1]
        assert isinstance(failure, Failure)
        assert isinstance(failure.error, InvalidInput)
        assert says in failure.error.message
        assert isinstance(found[2], Result)

    with pytest.raises(InvalidInput, match="at /type"):
        engine.admit(Work(1, {"prompt": "a"}, {"structured_outputs": {"json": {"type": "no"}}}))
    assert engine.is_idle


def test_fails_alone_where_nothing_may_follow(engine: LlmEngine) -> None:
    """A grammar that breaks in the middle fails its own answer; its neighbour's is whole."""
    engine.admit(Work(1, {"prompt": "a"}, {"structured_outputs": {"regex": "[a-z]{60}"}}))
    engine.admit(Work(2, {"prompt": "a"}, {"structured_outputs": {"regex": "[a-z]{30}"}}))
    sequence = engine._sequences[1]
    while len(sequence.tokens) < 2:
        engine.step()
    assert isinstance(sequence.grammar, GrammarState)
    sequence.grammar._matcher.consume_token(0)
    found = ends(drain(engine))

    failure = found[1]
    assert isinstance(failure, Failure)
    assert "The form asked for breaks at token 3" in failure.error.message
    assert len(_text(found[2])) == 30


def test_goes_on_after_a_preemption(llama: Path) -> None:
    """A sequence that gave its blocks back goes on in its grammar where it was."""
    engine = open_tiny(llama, max_sequences=2)
    asked = {"structured_outputs": {"regex": "([a-z]{3} ){12}"}, "temperature": 1.0, "seed": 3}
    alone = _text(generate(engine, "the fox", **asked))
    engine.admit(Work(1, {"prompt": "the fox"}, asked))
    sequence = engine._sequences[1]
    while len(sequence.tokens) < 9:
        engine.step()
    scheduler = engine._scheduler
    scheduler._running.remove(sequence)
    scheduler._give_back(sequence)
    scheduler._waiting.appendleft(sequence)
    found = ends(drain(engine))

    assert _text(found[1]) == alone
    engine.close()


@pytest.mark.slow
def test_goes_on_where_blocks_run_out(tmp_path: Path) -> None:
    """Answers that have to wait in between keep to their forms, and are the same."""
    pytest.importorskip("openvino")
    from test_openvino_runner import open_it  # noqa: PLC0415 - OpenVINO, for this test alone

    engine = open_it(save_model(tmp_path / "model"), tmp_path, max_sequences=4, max_length=256)
    asked = [
        {"structured_outputs": {"regex": "([a-z]{3} ){50}"}, "temperature": 1.0, "seed": seed}
        for seed in range(3)
    ]
    alone = [_text(generate(engine, "the fox", **each)) for each in asked]
    engine._scheduler._pool = BlockPool(6, engine._scheduler._pool.block_size)
    for number, each in enumerate(asked):
        engine.admit(Work(number, {"prompt": "the fox"}, each))
    found = ends(drain(engine))

    assert engine.occupancy().num_preemptions > 0
    assert [_text(found[number]) for number in range(3)] == alone
    assert all(re.fullmatch("([a-z]{3} ){50}", text) for text in alone)
    engine.close()


def test_draws_the_same_where_a_neighbour_raises(engine: LlmEngine) -> None:
    """Rows that are asked for again, each alone, stand where they stood in their grammars."""
    asked = [
        {"structured_outputs": FORM, "temperature": 1.0, "seed": 4},
        {"structured_outputs": {"regex": "[a-z]{30}"}, "frequency_penalty": 1.0},
    ]
    alone = [_text(generate(engine, "seven", **each)) for each in asked]
    for number, each in enumerate([*asked, {**asked[0], "seed": 5}]):
        engine.admit(Work(number, {"prompt": "seven"}, each))
    torn = engine._sequences[2]
    while len(torn.tokens) < 3:
        engine.step()
    torn._random = None  # type: ignore[assignment]
    found = ends(drain(engine))

    assert isinstance(found[2], Failure)
    assert [_text(found[number]) for number in range(2)] == alone


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("params", [{}, {"temperature": 1.0}, {"repetition_penalty": 1.5}])
def test_leaves_logits_as_they_are(
    engine: LlmEngine, params: dict[str, object], dtype: torch.dtype
) -> None:
    """What the form rules out is ruled out in a copy: whoever reads them later finds them whole."""
    engine.admit(Work(1, {"prompt": "a"}, {"structured_outputs": {"regex": "[0-9]{9}"}, **params}))
    sequence = engine._sequences[1]
    while sequence.grammar is None:
        engine.step()
    logits = torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(0)).to(dtype)
    before = logits.clone()
    (token,) = engine._sampler.sample(logits, [sequence])
    engine.cancel(1)

    assert torch.equal(logits, before)
    assert token is not None
    assert engine._reader._tokenizer.decode([token]).isdigit()


def test_tells_what_the_model_would_have_said(engine: LlmEngine) -> None:
    """Log probabilities are of the model's own distribution, as it was before the form."""
    free = generate(engine, "the fox", max_tokens=1, ignore_eos=True, logprobs=1)
    form = {"choice": ["77"]}
    held = generate(engine, "the fox", structured_outputs=form, logprobs=1)
    assert isinstance(free, Result)
    assert isinstance(held, Result)
    (first,), told = free.outputs["logprobs"], held.outputs["logprobs"]

    assert told[0]["top_logprobs"] == first["top_logprobs"]
    assert told[0]["logprob"] < first["logprob"]
    assert len(told) == held.counts["completion_tokens"]
    assert b"".join(bytes(each["bytes"]) for each in told) == b"77"


def test_reads_prompts_in_pieces(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token is drawn, and so none looked up, before a prompt's last piece."""
    monkeypatch.setattr(opening, "_BUDGETS", {"cpu": Budget(alone=4, beside=2)})
    engine = open_tiny(llama, max_sequences=2)
    end = generate(engine, "how many ships are there", structured_outputs={"regex": "[0-9]{4}"})

    assert re.fullmatch("[0-9]{4}", _text(end))
    engine.close()


@pytest.mark.slow
def test_is_the_same_where_tokens_are_guessed(llama: Path, tmp_path: Path) -> None:
    """Guesses are held against the grammar as any token is; right ones are taken."""
    pytest.importorskip("openvino")
    from test_openvino_runner import open_it  # noqa: PLC0415 - OpenVINO, for this test alone

    prompt = '{"name": "abc", "size": 1, "kind": "ship"} {"name": "abc", "size": 1, "kind": "ship"}'
    config = {"max_sequences": 4, "max_length": 256}
    plain = open_it(llama, tmp_path, **config)
    guessing = open_it(llama, tmp_path, speculation={"prompt_lookup": 6}, **config)
    form = {"json": {**SCHEMA, "properties": {**SCHEMA["properties"], "name": {"const": "abc"}}}}
    texts: list[list[str]] = []
    num_steps = []
    for engine in (plain, guessing):
        for number in range(3):
            params = {"structured_outputs": form, "temperature": 0.7 * number, "seed": number}
            engine.admit(Work(number, {"prompt": prompt}, params))
        events, steps = [], 0
        while not engine.is_idle:
            events += engine.step()
            steps += 1
        texts.append([_text(ends(events)[number]) for number in range(3)])
        num_steps.append(steps)
        engine.close()

    assert texts[0] == texts[1]
    assert num_steps[1] < num_steps[0], "no guess was right"
    for text in texts[0]:
        assert json.loads(text)["name"] == "abc"


def test_imports_no_grammar_library_before_the_first_form(llama: Path) -> None:
    """Whoever asks for no form pays for none."""
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from tiny_model import generate, open_tiny
engine = open_tiny(Path({str(llama)!r}), max_sequences=2)
generate(engine, "a", max_tokens=4)
assert "llguidance" not in sys.modules
generate(engine, "a", structured_outputs={{"regex": "ab"}})
assert "llguidance" in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
