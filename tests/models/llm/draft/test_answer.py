"""Answers with a draft model: the same as without one, in fewer steps where it foresees them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tiny_model import drain, ends, generate, make_tokenizer, open_tiny, run_together, save_model

from torchloom.device import Device
from torchloom.engine import Event, Result, Work
from torchloom.errors import ModelLoadError
from torchloom_models.llm import opening, openvino_opening
from torchloom_models.llm.draft import plan as plan_module
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.opening import open_engine
from torchloom_models.llm.scheduler import Budget


pytestmark = pytest.mark.slow

pytest.importorskip("openvino")

PROMPTS = ["the quick brown fox", "how many ships are in the harbour today?", "naïve", "seven"]

#: Ways to draw, of which all but the first two change the logits, or end early.
WAYS: list[dict[str, object]] = [
    {"temperature": 0},
    {"temperature": 0.8, "seed": 4},
    {"temperature": 0, "frequency_penalty": 0.7, "min_tokens": 9},
    {"temperature": 1.2, "seed": 8, "top_k": 20, "repetition_penalty": 1.3},
]


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that keeps code."""
    return tmp_path_factory.mktemp("artefacts")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a model that foresees next to nothing of what the other writes."""
    return save_model(tmp_path_factory.mktemp("stranger"), "llama", seed=7)


def open_it(folder: Path, artefacts: Path, **config: object) -> LlmEngine:
    """Open an engine on OpenVINO's CPU, exact, for four sequences."""
    values: dict[str, object] = {
        "source": str(folder),
        "dtype": "float32",
        "artefacts": str(artefacts),
        "max_sequences": 4,
        "max_length": 128,
    }
    return open_engine({**values, **config}, Device.parse("openvino:CPU"), lambda *_: None)


def drafted(draft: Path, tokens: int = 4, **more: object) -> dict[str, object]:
    """Give what a model file says of a draft model."""
    return {"draft": str(draft), "tokens": tokens, **more}


@pytest.fixture(scope="module")
def plain(llama: Path, artefacts: Path) -> Iterator[LlmEngine]:
    """Give an engine without a draft model."""
    engine = open_it(llama, artefacts)
    yield engine
    engine.close()


#: Forms that say everything, next to nothing, and something of an answer.
FORMS: list[dict[str, object]] = [
    {"choice": ["the quick brown fox", "the lazy dog"]},
    {"regex": "(?s:.{40})"},
    {"json": {"type": "array", "items": {"enum": ["fox", "café", 7]}, "minItems": 4}},
]


def works(num_tokens: int = 40) -> list[Work]:
    """Give tasks that are drawn in all ways."""
    return [
        Work(n, {"prompt": PROMPTS[n]}, {"max_tokens": num_tokens, "ignore_eos": True, **WAYS[n]})
        for n in range(4)
    ]


def write(engine: LlmEngine, tasks: Sequence[Work]) -> tuple[list[object], int]:
    """Give text, end and number of tokens of tasks that run together, and the number of steps."""
    found, count = run_together(engine, tasks)
    return [_written(found[work.task_id]) for work in tasks], count


def _written(end: object) -> object:
    assert isinstance(end, Result), end
    usage = end.outputs["usage"]
    assert isinstance(usage, dict)
    return end.outputs["text"], end.outputs["finish_reason"], usage["completion"]


def _drawn(end: object) -> list[int]:
    """Give the tokens themselves, of an answer that tells their log probabilities."""
    assert isinstance(end, Result), end
    entries = end.outputs["logprobs"]
    assert isinstance(entries, list)
    return [entry["id"] for entry in entries]


def held(engine: LlmEngine) -> int:
    """Give how many blocks of the draft model's cache are held."""
    assert engine._drafter is not None
    pool = engine._drafter._table._pool
    return pool.num_blocks - pool.num_free


def test_writes_the_same_in_fewer_steps(llama: Path, plain: LlmEngine, artefacts: Path) -> None:
    """With the model itself as its draft, alone and beside others; all blocks come back."""
    alone = [write(plain, [work]) for work in works()]
    together = write(plain, works())
    engine = open_it(llama, artefacts, speculation=drafted(llama))

    found = [write(engine, [work]) for work in works()[:1]]
    told = engine.occupancy()
    found += [write(engine, [work]) for work in works()[1:]]
    mixed = write(engine, works())

    assert [answer for answer, _ in found] == [answer for answer, _ in alone]
    assert mixed[0] == together[0]
    assert found[0][1] < alone[0][1] / 3, "greedy text is foreseen whole"
    assert mixed[1] < together[1]
    # Each step but for its guesses is a token.
    assert told.num_accepted == 40 - found[0][1]
    assert told.num_accepted <= told.num_guessed
    assert held(engine) == 0
    parts = [status.part for status in engine.code_status()]
    assert parts == ["forward", "draft"]
    engine.close()


def test_writes_the_same_where_nothing_is_foreseen(
    llama: Path, stranger: Path, plain: LlmEngine, artefacts: Path
) -> None:
    """Guesses pause then: few are made for nothing."""
    engine = open_it(llama, artefacts, speculation=drafted(stranger))
    runner = engine._drafter._runner  # type: ignore[union-attr]
    passes = []
    run = runner.run_rows
    runner.run_rows = lambda rows: passes.append(rows) or run(rows)  # type: ignore[method-assign]

    assert write(engine, works())[0] == write(plain, works())[0]
    (answer,), num_steps = write(engine, works(80)[:1])

    assert answer == write(plain, works(80)[:1])[0][0]
    assert num_steps > 70, "some was foreseen: the test wants another model"
    assert 0 < len(passes) < num_steps
    assert held(engine) == 0
    engine.close()


def test_ends_at_stop_strings_and_end_tokens(
    llama: Path, plain: LlmEngine, artefacts: Path
) -> None:
    """In the middle of what was guessed; what is beyond is never sent, nor counted."""
    (answer, *_), _ = write(plain, works()[:1])
    assert isinstance(answer, tuple)
    text = str(answer[0])
    params = {"max_tokens": 40, "temperature": 0, "ignore_eos": True}
    tasks = [
        Work(n, {"prompt": PROMPTS[0]}, {**params, **more})
        for n, more in enumerate(
            (
                {"stop": [text[10:13]]},
                {"max_tokens": 7},
                {"max_tokens": 1},
                {"ignore_eos": False, "logit_bias": {"2": 12.0}},
            )
        )
    ]
    engine = open_it(llama, artefacts, speculation=drafted(llama))

    assert write(engine, tasks)[0] == write(plain, tasks)[0]
    assert held(engine) == 0
    engine.close()


@pytest.mark.parametrize(
    "guessers",
    [
        {"prompt_lookup": 4},
        {"draft": "llama"},
        {"draft": "stranger"},
        {"draft": "llama", "prompt_lookup": 4},
    ],
    ids=["lookup", "itself", "stranger", "both"],
)
def test_keeps_to_forms(
    guessers: dict[str, object],
    llama: Path,
    stranger: Path,
    plain: LlmEngine,
    artefacts: Path,
) -> None:
    """Guesses know no form: they count as far as what it lets the model draw is the same."""
    folders = {"llama": str(llama), "stranger": str(stranger)}
    speculation = {key: folders.get(str(value), value) for key, value in guessers.items()}
    engine = open_it(llama, artefacts, speculation=speculation)
    # What the forms let through stands in the prompt, for whoever looks it up.
    prompt = 'the quick brown fox ["fox","café",7,"fox","café",7] the quick brown fox '
    made: list[tuple[int, int]] = []
    for form in FORMS:
        tasks = [
            Work(
                n,
                {"prompt": prompt},
                {"max_tokens": 40, "logprobs": 2, "structured_outputs": form, **way},
            )
            for n, way in enumerate(WAYS)
        ]
        wanted, num_plain = run_together(plain, tasks)
        found, num_steps = run_together(engine, tasks)
        made.append((num_plain, num_steps))

        for n in range(len(WAYS)):
            assert _written(found[n]) == _written(wanted[n])
            assert _drawn(found[n]) == _drawn(wanted[n])
    if guessers.get("draft") != "stranger":
        assert any(num_steps < num_plain for num_plain, num_steps in made), made
    engine.close()


def test_forgets_a_task_in_the_middle_of_guesses(llama: Path, artefacts: Path) -> None:
    """Its blocks are free at once, those of the draft model too; the others go on as alone."""
    engine = open_it(llama, artefacts, speculation=drafted(llama))
    wanted = write(engine, works()[:2])[0]
    for work in works()[:3]:
        engine.admit(work)
    events: list[Event] = []
    for _ in range(3):
        events += engine.step()
    before = held(engine)
    engine.cancel(2)
    engine.check()

    assert 0 < held(engine) < before
    events += drain(engine)

    assert [_written(ends(events)[n]) for n in range(2)] == wanted
    assert held(engine) == 0
    engine.close()


def test_writes_the_same_where_blocks_run_out(
    llama: Path, artefacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sequences that are put back lose their place in the draft model's cache as well."""
    monkeypatch.setattr(opening, "_BUDGETS", {"openvino": Budget(alone=24, beside=8)})
    config = {"kv_cache": {"tokens": 160}, "speculation": drafted(llama)}
    engine = open_it(llama, artefacts, **config)
    tasks = [
        Work(n, {"prompt": PROMPTS[1] + PROMPTS[n]}, {**work.params, "max_tokens": 70})
        for n, work in enumerate(works())
    ]
    alone = [write(engine, [work])[0][0] for work in tasks]

    assert write(engine, tasks)[0] == alone
    assert engine.occupancy().num_preemptions > 0
    assert engine.occupancy().blocks["held"] == held(engine) == 0
    shape = 2 * 3 * 2 * 8 * 4  # keys and values of three layers, two heads of eight numbers
    assert engine.reserved_bytes() == (160 + 160) * shape
    engine.close()


def test_looks_prompts_up_first(llama: Path, plain: LlmEngine, artefacts: Path) -> None:
    """The draft model guesses where nothing is found; both are right in the same answer."""
    config = drafted(llama, prompt_lookup=4)
    engine = open_it(llama, artefacts, speculation=config)
    guessers = set()
    plan = engine._scheduler.plan

    def note(budget: Budget) -> list[object]:
        spans = plan(budget)
        guessers.update(type(span.guesser).__name__ for span in spans if span.guesser)
        guessers.update("room" for span in spans if span.room)
        return spans  # type: ignore[return-value]

    engine._scheduler.plan = note  # type: ignore[method-assign, assignment]

    # It writes the same token again and again.
    stuck = {"max_tokens": 30, "temperature": 0, "logit_bias": {"50": 100.0}}
    tasks = [*works()[:2], Work(2, {"prompt": PROMPTS[2]}, stuck)]
    assert write(engine, tasks)[0] == write(plain, tasks)[0]
    assert guessers == {"PromptLookup", "room"}
    assert held(engine) == 0
    engine.close()


def test_guesses_for_few_alone(
    llama: Path, artefacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While more write than it is worth for, the draft model runs nothing."""
    monkeypatch.setattr(plan_module, "MAX_WRITERS", 2)
    engine = open_it(llama, artefacts, speculation=drafted(llama))
    for work in works()[:3]:
        engine.admit(work)
    for _ in range(4):
        engine.step()

    assert held(engine) == 0
    engine.cancel(2)
    engine.step()
    assert held(engine) > 0
    drain(engine)
    engine.close()


def test_serves_without_where_passes_take_no_guesses(llama: Path) -> None:
    """On `cpu` a note says so, and the draft model takes no memory."""
    engine = open_tiny(llama, speculation=drafted(llama))

    assert engine._drafter is None
    assert engine.notes == (
        "nothing is guessed ahead: a pass takes one token of each sequence here",
    )
    assert isinstance(generate(engine, "seven", max_tokens=3), Result)
    engine.close()


def test_serves_without_a_draft_model_that_the_kernel_does_not_serve(
    llama: Path, stranger: Path, artefacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note names the reason; prompts are looked up all the same."""
    probe = openvino_opening.probe_windows
    seen = []

    def refuse_the_second(*arguments: object) -> list[int]:
        seen.append(arguments)
        if len(seen) > 1:
            raise NotImplementedError("the test wants it so")
        return probe(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(openvino_opening, "probe_windows", refuse_the_second)
    engine = open_it(llama, artefacts, speculation=drafted(stranger, prompt_lookup=4))

    assert engine.notes == ("the draft model guesses nothing: OpenVINO's kernel does not serve it",)
    assert isinstance(generate(engine, "seven", max_tokens=3), Result)
    engine.close()


def test_refuses_a_draft_model_with_other_tokens(
    llama: Path, stranger: Path, tmp_path: Path
) -> None:
    """The error names both folders, and a token that only one of them has."""
    folder = shutil.copytree(stranger, tmp_path / "other")
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<|odd|>"])
    tokenizer.save_pretrained(folder)

    with pytest.raises(ModelLoadError) as caught:
        open_tiny(llama, speculation=drafted(folder))

    said = str(caught.value)
    for words in (repr(str(folder)), repr(str(llama)), "'<|odd|>' is number ", " and none"):
        assert words in said


def test_refuses_a_draft_model_that_is_not_there(llama: Path, tmp_path: Path) -> None:
    """Whichever the device: the file would not do what it says."""
    with pytest.raises(ModelLoadError, match=r"draft model was not loaded: The source .*nowhere'"):
        open_tiny(llama, speculation=drafted(tmp_path / "nowhere"))


def test_refuses_a_draft_model_without_room(
    llama: Path, artefacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is free must hold both caches."""
    size = 512 * 384  # four sequences of 128 tokens
    monkeypatch.setattr(opening, "free_bytes", lambda _: 2 * size - 1)

    with pytest.raises(ModelLoadError, match=r"draft model has no room beside the model: .* 512"):
        open_it(llama, artefacts, speculation=drafted(llama), kv_cache={"tokens": 512})
