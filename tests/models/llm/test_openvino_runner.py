"""Language models by OpenVINO's code: equal to transformers; compressed, their loss is told."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from tiny_model import (
    LAYOUTS,
    drain,
    ends,
    generate,
    load_reference,
    make_tokenizer,
    run_together,
    save_model,
    text_of,
)

from torchloom.device import Device
from torchloom.engine import Chunk, Failure, Result, Work
from torchloom.errors import ModelLoadError
from torchloom_models import openvino_compiler
from torchloom_models.llm import opening, openvino_opening
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.opening import open_engine
from torchloom_models.llm.openvino_runner import OpenvinoRunner
from torchloom_models.llm.paged_runner import PagedRunner
from torchloom_models.llm.scheduler import Budget
from torchloom_models.openvino_device import is_native


pytestmark = pytest.mark.slow

pytest.importorskip("openvino")

LLAMA = Path(__file__).parents[3] / "examples" / "tiny_models" / "tiny_llama"

PROMPTS = ["the quick brown fox", "how many ships are in the harbour today?", "naïve", "seven"]


def open_it(
    folder: Path, artefacts: Path, device: str = "openvino:CPU", **config: object
) -> LlmEngine:
    """Open an engine on OpenVINO's CPU, exact unless told otherwise."""
    values = {"source": str(folder), "dtype": "float32", "artefacts": str(artefacts), **config}
    return open_engine(values, Device.parse(device), lambda *_: None)


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that keeps the code of the tiny Llama."""
    return tmp_path_factory.mktemp("artefacts")


@pytest.fixture
def engine(llama: Path, artefacts: Path) -> Iterator[LlmEngine]:
    """Give an engine on the tiny Llama, with four slots."""
    engine = open_it(llama, artefacts, max_sequences=4)
    yield engine
    engine.close()


def write_together(engine: LlmEngine) -> list[list[int]]:
    """Give the tokens of sequences that join and leave between steps."""
    sequences = []
    for number, prompt in enumerate(PROMPTS):
        params = {"max_tokens": 24 + number, "ignore_eos": True}
        engine.admit(Work(number, {"prompt": prompt}, params))
        sequences.append(engine._sequences[number])
        for _ in range(number):
            engine.step()
    drain(engine)
    return [sequence.tokens for sequence in sequences]


def write_alone(engine: LlmEngine, number: int) -> list[int]:
    """Give the tokens of one of them without the others."""
    params = {"max_tokens": 24 + number, "ignore_eos": True}
    engine.admit(Work(0, {"prompt": PROMPTS[number]}, params))
    sequence = engine._sequences[0]
    drain(engine)
    return sequence.tokens


def expected(folder: Path) -> list[list[int]]:
    """Give the tokens that transformers writes."""
    model = load_reference(folder)
    model.generation_config.eos_token_id = None
    tokens = []
    for number, prompt in enumerate(PROMPTS):
        ids = make_tokenizer()(prompt, return_tensors="pt").input_ids
        output = model.generate(ids, max_new_tokens=24 + number, do_sample=False)
        tokens.append(output[0, ids.shape[1] :].tolist())
    return tokens


def test_writes_what_transformers_writes(llama: Path, engine: LlmEngine) -> None:
    """Sequences that join and leave between steps have the tokens that each has alone."""
    assert engine.device == "openvino:CPU"
    assert write_together(engine) == expected(llama)


@pytest.fixture(params=[PagedRunner, OpenvinoRunner])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type:
    """Give the runner that is taken: that of the kernel, or that of what the kernel lacks."""
    if request.param is OpenvinoRunner:

        def refuse(*_: object) -> list[int]:
            raise NotImplementedError("the test wants the other")

        monkeypatch.setattr(openvino_opening, "probe_windows", refuse)
    return request.param


#: What differs where a cache is read: windows, two kinds of layers, learned positions.
_READ_LAYOUTS = ("gemma3", "gpt2", "mistral")


@pytest.mark.parametrize(
    ("layout", "route"),
    [
        *((layout, PagedRunner) for layout in sorted(LAYOUTS.keys() - {"llama", "mixtral"})),
        *((layout, OpenvinoRunner) for layout in _READ_LAYOUTS),
    ],
    indirect=["route"],
)
def test_writes_what_transformers_writes_in_every_layout(
    layout: str, route: type, tmp_path: Path
) -> None:
    """Windows, shared heads, learned positions: token for token, alone and beside others."""
    folder = save_model(tmp_path / "model", layout)
    wanted = expected(folder)
    engine = open_it(folder, tmp_path / "code", max_sequences=4)
    assert isinstance(engine._runner, route)

    assert write_together(engine) == wanted
    assert [write_alone(engine, number) for number in range(len(PROMPTS))] == wanted
    assert any(len(set(tokens)) > 5 for tokens in wanted), "the model only repeats itself"
    engine.close()


def count_steps(engine: LlmEngine, works: Sequence[Work]) -> tuple[list[object], int]:
    """Give what becomes of tasks, and after how many steps."""
    results, count = run_together(engine, works)
    return [getattr(results[work.task_id], "outputs", None) for work in works], count


def test_writes_the_same_with_guesses_in_fewer_steps(tmp_path: Path) -> None:
    """The trained Llama copies from its prompt: greedy, drawn, penalised and stopped alike."""
    config = {"max_sequences": 4, "prefix_cache": False}
    passage = "The outer mole was built in 1887 by Corvan Ashdrift Bellweather the Elder."
    asked = f"[1] {passage}\nQuestion: Who built the outer mole?"
    said = [
        {"role": "system", "content": "Answer from the passages alone."},
        {"role": "user", "content": asked},
    ]
    params: list[dict[str, object]] = [
        {"temperature": 0},
        {"temperature": 0.3, "seed": 4},
        {"temperature": 0, "frequency_penalty": 0.01},
        {"temperature": 0, "stop": ["dri"]},
    ]
    works = [Work(n, {"messages": said}, {"max_tokens": 40, **params[n]}) for n in range(4)]
    plain = open_it(LLAMA, tmp_path, **config)
    guessing = open_it(LLAMA, tmp_path, speculation={"prompt_lookup": 6}, **config)

    wanted, num_plain = count_steps(plain, works)
    found, num_guessing = count_steps(guessing, works)
    plain.close()
    guessing.close()

    assert found == wanted
    assert "Corvan" in str(wanted[0])
    assert num_guessing < 0.8 * num_plain


def test_shares_and_loses_nothing_where_blocks_run_out(
    llama: Path, tmp_path: Path, route: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long prompts that begin alike, in pieces, with blocks for half of them: all as alone."""
    monkeypatch.setattr(opening, "_BUDGETS", {"openvino": Budget(alone=40, beside=9)})
    engine = open_it(llama, tmp_path, max_sequences=4)
    beginning = "how many ships are in the harbour today? there are seven of them. " * 2
    works = [
        Work(number, {"prompt": beginning + prompt}, {"max_tokens": 90, "ignore_eos": True})
        for number, prompt in enumerate(PROMPTS)
    ]
    alone = []
    for work in works:
        engine.admit(work)
        alone.append(ends(drain(engine))[work.task_id])
    is_paged = route is PagedRunner
    if is_paged:
        pool = engine._scheduler._pool
        pool.allocate(pool.num_free - 8)  # held by nobody that the engine knows
        engine.check = lambda: None  # type: ignore[method-assign]
    for work in works:
        engine.admit(work)
    together = ends(drain(engine))

    def text_of(result: object) -> object:
        assert isinstance(result, Result)
        return result.outputs["text"]

    assert [text_of(together[n]) for n in range(4)] == [text_of(result) for result in alone]
    assert (engine._scheduler.num_preemptions > 0) == is_paged
    cached = [result.outputs["usage"]["cached"] for result in alone]  # type: ignore[union-attr, index]
    assert [number > 0 for number in cached] == [False, True, True, True]
    engine.close()


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch's own
def test_says_what_to_do_where_a_model_does_not_convert(
    make_artefacts: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Experts have no conversion: the error says where they run, and `auto` runs them there.

    The worker's log goes on at its level, which OpenVINO raises for its own failure.
    """
    folder = save_model(tmp_path / "model", "mixtral")
    level = logging.getLogger().level
    code = make_artefacts(tmp_path / "code")

    with pytest.raises(ModelLoadError, match=r"grouped_mm.*`devices: \[cpu\]`"):
        open_it(folder, code, max_sequences=1)
    assert logging.getLogger().level == level
    engine = open_it(folder, code, "auto", max_sequences=1, compile="auto")

    assert engine.device == "cpu"
    assert "not on openvino:CPU: 'forward' does not run" in engine.notes[0]
    assert isinstance(generate(engine, "seven", max_tokens=4), Result)
    engine.close()


def test_writes_in_bfloat16(route: type, tmp_path: Path) -> None:
    """OpenVINO calculates in the dtype that is asked for, and foresees a text as well."""
    if not is_native("CPU", "BF16") and route is PagedRunner:
        pytest.skip("this processor does not calculate in bfloat16")
    engine = open_it(LLAMA, tmp_path, dtype="bfloat16", max_sequences=2)
    runner = engine._runner
    assert isinstance(runner, route)
    tokens = engine._reader._tokenizer.encode("a red circle and a blue square on a white ground")

    full, found = runner.perplexities(tokens)

    assert found != full
    assert abs(found - full) < 0.05 * full
    assert isinstance(generate(engine, "a red circle and", max_tokens=4), Result)
    engine.close()


@pytest.mark.usefixtures("engine")
def test_starts_again_without_converting(
    llama: Path, artefacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second start finds the code, which one copy of the weights belongs to."""

    def refuse(_program: object) -> object:
        raise AssertionError("converted again")

    monkeypatch.setattr(openvino_compiler, "_convert", refuse)
    again = open_it(llama, artefacts, max_sequences=4)

    assert isinstance(generate(again, "seven", max_tokens=4), Result)
    assert len(list(artefacts.glob("*/model.bin"))) == 1
    again.close()


def test_answers_as_the_example_model_does(tmp_path: Path) -> None:
    """The Llama of the examples writes the same answer as transformers, past a step of lengths."""
    folder = shutil.copytree(LLAMA, tmp_path / "llama")
    engine = open_it(folder, tmp_path / "artefacts", max_sequences=1)
    engine.admit(Work(0, {"prompt": "a red circle and"}, {"max_tokens": 96, "ignore_eos": True}))
    sequence = engine._sequences[0]
    drain(engine)
    engine.close()

    model = load_reference(folder).float()
    model.generation_config.eos_token_id = None
    ids = torch.tensor([list(sequence.prompt)])
    output = model.generate(ids, max_new_tokens=96, do_sample=False)
    assert sequence.tokens == output[0, ids.shape[1] :].tolist()


def test_tells_what_compressed_weights_lose(route: type, tmp_path: Path) -> None:
    """The perplexity of a text of our own, beside that of full weights; `auto` takes OpenVINO."""
    pytest.importorskip("nncf")
    losses = []
    for weights in ("int8", "int4"):
        engine = open_it(LLAMA, tmp_path, "auto", max_sequences=2, weights=weights)
        assert engine.device == "openvino:CPU"
        assert isinstance(engine._runner, route)
        (note,) = engine.notes
        assert note.startswith(f"{weights} weights: perplexity ")
        found, full = (
            float(note.split(word)[1].split()[0].rstrip(",")) for word in ("ty ", "have ")
        )
        losses.append(abs(found - full) / full)
        assert isinstance(generate(engine, "seven", max_tokens=4), Result)
        engine.close()

    assert 0 < losses[0] < losses[1] < 0.5


def test_fails_a_sequence_with_nan_alone(engine: LlmEngine) -> None:
    """NaN fails its own row; a neighbour, and the blocks' next owner, write what they would."""
    params = {"max_tokens": 12, "ignore_eos": True}
    good = generate(engine, PROMPTS[0], **params)
    for number in (1, 0):
        engine.admit(Work(number, {"prompt": PROMPTS[number]}, params))
    while engine._scheduler._waiting:
        engine.step()
    cache = engine._runner._cache
    for buffer in cache.buffers:
        buffer[engine._sequences[1].blocks] = float("nan")

    ended = ends(drain(engine))
    for number in (2, 3, 4, 5):
        engine.admit(Work(number, {"prompt": PROMPTS[0]}, params))
    later = ends(drain(engine))

    assert isinstance(ended[1], Failure)
    assert isinstance(good, Result)
    for end in (ended[0], *later.values()):
        assert isinstance(end, Result)
        assert end.outputs == good.outputs


def test_measures_which_device_writes_faster(
    llama: Path, make_artefacts: Callable[[Path], Path], tmp_path: Path
) -> None:
    """`auto` writes the same tokens on each device, says what came out, and keeps the answer."""
    code = make_artefacts(tmp_path)
    # One at a time: the CPU compiles for one row alone.
    first = open_it(llama, code, "auto", compile="auto", max_sequences=1)
    (said,) = first.notes
    assert "cpu" in said
    assert "openvino:CPU" in said
    assert said.endswith(f": {first.device}")
    first.close()

    second = open_it(llama, code, "auto", compile="auto", max_sequences=1)

    assert second.device == first.device
    assert "earlier start" in second.notes[0]
    second.close()


#: A cache of five blocks, for six sequences of up to four each.
TIGHT: dict[str, object] = {"max_sequences": 6, "max_length": 128, "kv_cache": {"tokens": 160}}

WAYS: list[dict[str, object]] = [
    {"temperature": 0},
    {"temperature": 1.1, "seed": 7},
    {"temperature": 0.9, "seed": 8, "frequency_penalty": 0.7, "top_k": 20},
]


@pytest.fixture(params=[True, False], ids=["shared", "unshared"])
def tight(
    request: pytest.FixtureRequest,
    llama: Path,
    artefacts: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[LlmEngine]:
    """Give an engine whose cache holds a fraction of what it may be asked for."""
    monkeypatch.setattr(opening, "_BUDGETS", {"openvino": Budget(alone=24, beside=8)})
    engine = open_it(llama, artefacts, prefix_cache=request.param, **TIGHT)
    yield engine
    engine.check()
    blocks = engine.occupancy().blocks
    assert (blocks["held"], blocks["kept"] + blocks["free"]) == (0, 5)
    engine.close()


def growing(number: int) -> Work:
    """Give a task whose answer outgrows the cache beside others; some begin alike."""
    params = {**WAYS[number % 3], "max_tokens": 60 + 5 * number, "ignore_eos": True}
    return Work(number, {"prompt": f"{PROMPTS[1]} {PROMPTS[number % 4]}"}, params)


def written(result: object) -> tuple[object, object]:
    """Give text and number of tokens."""
    assert isinstance(result, Result)
    usage = result.outputs["usage"]
    assert isinstance(usage, dict)
    assert usage["cached"] <= usage["prompt"] - 1
    assert usage["cached"] % 32 == 0
    return result.outputs["text"], usage["completion"]


def test_writes_the_same_in_a_cache_that_runs_out(tight: LlmEngine) -> None:
    """Greedy, drawn and penalised: as alone, each piece sent once, whoever was put back."""
    works = [growing(number) for number in range(6)]
    alone = []
    for work in works:
        tight.admit(work)
        alone.append(written(ends(drain(tight))[work.task_id]))
    is_shared = tight.occupancy().blocks["kept"] > 0
    for work in works:
        tight.admit(work)

    events = drain(tight)

    together = ends(events)
    assert [written(together[n]) for n in range(6)] == alone
    assert [text_of(events, n) for n in range(6)] == [text for text, _ in alone]
    assert tight.occupancy().num_preemptions > 0
    assert sum(not isinstance(event, Chunk) for event in events) == 6
    if not is_shared:
        cached = [end.outputs["usage"]["cached"] for end in together.values()]
        assert cached == [0] * 6


def test_forgets_tasks_wherever_they_stand(tight: LlmEngine) -> None:
    """In the middle of a prompt, and while put back: blocks are free, the others go on."""
    works = [growing(number) for number in range(6)]
    tight.admit(works[5])
    alone = written(ends(drain(tight))[5])
    long = Work(9, {"prompt": PROMPTS[1] * 3}, {"max_tokens": 5})
    tight.admit(long)
    tight.step()
    piece = tight._sequences[9]
    assert 0 < piece.num_held < len(piece.prompt)
    tight.cancel(9)
    tight.check()
    assert tight.occupancy().blocks["held"] == 0
    for work in reversed(works):
        tight.admit(work)

    events = []
    while (put_back := _put_back(tight)) is None:
        events += tight.step()
    tight.cancel(put_back)
    tight.check()
    events += drain(tight)

    together = ends(events)
    assert set(together) == set(range(6)) - {put_back}
    assert written(together[5]) == alone


def _put_back(engine: LlmEngine) -> int | None:
    """Give a task that ran and waits again."""
    waiting = (task for task, each in engine._sequences.items() if each.tokens and not each.blocks)
    return next(waiting, None)


def test_keeps_blocks_whole_whatever_comes_and_goes(tight: LlmEngine) -> None:
    """Tasks that come, leave, break and are put back, in any order: each ends once, as alone."""
    chance = random.Random(3)
    works = {number: growing(number % 6) for number in range(24)}
    waiting = list(works)
    wanted: dict[int, object] = {}
    for number in range(6):
        tight.admit(works[number])
        wanted[number] = written(ends(drain(tight))[number])
    gone, broken, events = set(), set(), []
    while waiting or not tight.is_idle:
        if waiting and len(tight._sequences) < 6 and chance.random() < 0.3:
            task = waiting.pop(0)
            tight.admit(replace(works[task], task_id=task))
        elif tight._sequences and chance.random() < 0.02:
            task = chance.choice(list(tight._sequences))
            gone.add(task)
            tight.cancel(task)
        elif tight._sequences and chance.random() < 0.01:
            task = chance.choice(list(tight._sequences))
            broken.add(task)
            tight._sequences[task]._detokenizer = None  # type: ignore[assignment]
        events += tight.step()
        tight.check()

    together = ends(events)
    assert gone
    assert set(together) == set(works) - gone
    for task, end in together.items():
        if task in broken:
            assert isinstance(end, Failure)
        else:
            assert written(end) == wanted[task % 6]
    assert tight.occupancy().num_preemptions > 0


def test_refuses_a_cache_that_holds_no_whole_sequence(llama: Path, artefacts: Path) -> None:
    """At the load, with both figures."""
    with pytest.raises(ModelLoadError, match=r"kv_cache has room for 96 tokens.*takes 128"):
        open_it(llama, artefacts, **{**TIGHT, "kv_cache": {"tokens": 127}})


def test_takes_code_that_was_made_for_another_size_of_cache(
    llama: Path, artefacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size may follow from free memory: that converts nothing anew."""
    open_it(llama, artefacts, **TIGHT).close()

    def refuse(_program: object) -> object:
        raise AssertionError("converted again")

    monkeypatch.setattr(openvino_compiler, "_convert", refuse)
    engine = open_it(llama, artefacts, **{**TIGHT, "kv_cache": {"memory": "200KB"}})

    assert isinstance(generate(engine, "seven", max_tokens=4), Result)
    engine.close()


def test_takes_one_thread_of_torch_in_a_step(
    engine: LlmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second one would wait for OpenVINO's; outside of steps there are as many as before."""
    before = torch.get_num_threads()
    seen = []
    sample = engine._sampler.sample

    def watch(logits: torch.Tensor, sequences: Sequence[object]) -> list[int | None]:
        seen.append(torch.get_num_threads())
        return sample(logits, sequences)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(engine._sampler, "sample", watch)
    torch.set_num_threads(2)
    try:
        generate(engine, "the quick brown fox", max_tokens=3)
        assert (seen, torch.get_num_threads()) == ([1, 1, 1], 2)
    finally:
        torch.set_num_threads(before)
