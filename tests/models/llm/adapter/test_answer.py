"""Adapters in the engine: each row of a batch writes what its own merged model would write."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from adapter_files import greedy, merged, save_adapter
from tiny_model import LAYOUTS, drain, ends, generate, load_reference, open_tiny, save_model

from torchloom.device import Device
from torchloom.engine import Failure, Result, Work
from torchloom.errors import InvalidInput, InvalidModel, ModelLoadError
from torchloom_models.llm.adapter.plan import AdapterPlan
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.opening import open_engine


PROMPT = "the quick brown fox jumps over the lazy dog"
OTHER = "how many ships are in the harbour today? there are seven of them, and all are old"

NUM_TOKENS = 12

_ROUTES = {
    "eager": ("cpu", "eager"),
    "inductor": ("cpu", "inductor"),
    "openvino": ("openvino:CPU", "auto"),
}


def open_on(folder: Path, route: str, **config: object) -> LlmEngine:
    """Open an engine in float32 by one of the routes."""
    device, compiler = _ROUTES[route]
    if route == "openvino":
        pytest.importorskip("openvino")
    values = {
        "name": "tiny",
        "source": str(folder),
        "compile": compiler,
        "dtype": "float32",
        "max_sequences": 4,
        "max_length": 128,
        **config,
    }
    return open_engine(values, Device.parse(device), lambda *_: None)


def write(engine: LlmEngine, asked: Mapping[int, tuple[str, str | None]]) -> dict[int, list[int]]:
    """Ask for answers at once, each by an adapter or by none; give their tokens."""
    sequences = {}
    for number, (prompt, adapter) in asked.items():
        params = {"max_tokens": NUM_TOKENS, "ignore_eos": True, "adapter": adapter}
        engine.admit(Work(number, {"prompt": prompt}, params))
        sequences[number] = engine._sequences[number]
        engine.step()
    results = ends(drain(engine))
    assert all(isinstance(result, Result) for result in results.values()), results
    return {number: sequence.tokens for number, sequence in sequences.items()}


def save_two(folder: Path, layout: str) -> tuple[Path, Path, Path]:
    """Write a model and two adapters of it, of other layers, ranks and scalings."""
    model = save_model(folder / "model", layout)
    if layout == "gpt2":
        every: list[str] = ["c_attn", "c_proj", "c_fc"]
        some = r".*\.[02]\.attn\.c_attn"
    elif layout == "phi3":
        every = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
        some = r".*layers\.1\..*(o_proj|down_proj)"
    else:
        every = ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]
        some = r".*layers\.1\..*(q_proj|v_proj|down_proj|fc2)"
    first = save_adapter(folder / "first", model, targets=every)
    pattern = {"rank_pattern": {every[-1]: 2}, "alpha_pattern": {every[0]: 3}}
    second = save_adapter(
        folder / "second", model, targets=some, seed=2, r=6, use_rslora=True, **pattern
    )
    return model, first, second


def compare(folder: Path, layout: str, route: str, **config: object) -> None:
    """Compare rows, alone and mixed, with the merged models."""
    model, first, second = save_two(folder, layout)
    adapters = {"first": str(first), "second": str(second)}
    engine = open_on(model, route, adapters=adapters, max_lora_rank=8, **config)
    models = {
        None: load_reference(model),
        "first": merged(model, first),
        "second": merged(model, second),
    }

    asked = {
        0: (PROMPT, "first"),
        1: (OTHER, None),
        2: (PROMPT, "second"),
        3: (PROMPT, None),
    }
    expected = {
        number: greedy(models[name], prompt, NUM_TOKENS) for number, (prompt, name) in asked.items()
    }
    mixed = write(engine, asked)
    alone = {number: write(engine, {0: each})[0] for number, each in asked.items()}
    engine.close()

    assert mixed == expected
    assert alone == expected
    assert len({tuple(tokens) for tokens in expected.values()}) == len(expected)


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"mixtral"}))
def test_writes_what_merged_models_write(layout: str, tmp_path: Path) -> None:
    """Token for token, alone and in one batch with others and with none."""
    compare(tmp_path, layout, "eager")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "route"),
    [
        ("llama", "inductor"),  # takes minutes for each layout
        ("llama", "openvino"),
        ("qwen3", "openvino"),
        ("mistral", "openvino"),
        ("gpt2", "openvino"),
    ],
)
def test_writes_the_same_by_compiled_code(
    layout: str, route: str, make_artefacts: Callable[[Path], Path], tmp_path: Path
) -> None:
    """One piece of code serves all adapters."""
    compare(tmp_path, layout, route, artefacts=str(make_artefacts(tmp_path / "code")))


@pytest.mark.slow
def test_keeps_code_while_adapters_change(tmp_path: Path) -> None:
    """What was compiled for one set of adapters serves another, and those loaded later."""
    pytest.importorskip("openvino")
    model, first, second = save_two(tmp_path, "llama")
    kept = {"artefacts": str(tmp_path / "kept"), "lora_modules": "all-linear"}
    open_on(model, "openvino", adapters={"a": str(first)}, **kept).close()

    def code() -> set[str]:
        return {path.parent.name for path in (tmp_path / "kept").glob("*/model.xml")}

    made = code()

    engine = open_on(model, "openvino", adapters={"b": str(second)}, **kept)
    engine.apply_setting("adapter:c", {"source": str(first)})
    tokens = write(engine, {0: (PROMPT, "b"), 1: (PROMPT, "c")})
    engine.close()

    assert len(made) == 1
    assert code() == made
    assert tokens[0] == greedy(merged(model, second), PROMPT, NUM_TOKENS)
    assert tokens[1] == greedy(merged(model, first), PROMPT, NUM_TOKENS)


@pytest.mark.slow
def test_shares_no_block_between_adapters(tmp_path: Path) -> None:
    """Of one prompt, each adapter, each loading of it, and the model itself keep blocks apart."""
    pytest.importorskip("openvino")
    model, first, second = save_two(tmp_path, "llama")
    adapters = {"first": str(first), "second": str(second)}
    engine = open_on(model, "openvino", adapters=adapters, max_lora_rank=8)

    def cached(adapter: str | None) -> int:
        params = {"max_tokens": 2, "ignore_eos": True, "adapter": adapter}
        engine.admit(Work(0, {"prompt": " ".join([OTHER] * 3)}, params))
        result = ends(drain(engine))[0]
        assert isinstance(result, Result)
        return result.outputs["usage"]["cached"]  # type: ignore[index,no-any-return]  # its form

    fresh = [cached(name) for name in (None, "first", "second")]
    again = [cached(name) for name in (None, "first", "second")]
    engine.apply_setting("adapter:first", None)
    engine.apply_setting("adapter:first", {"source": str(first)})
    reloaded = cached("first")
    engine.close()

    assert fresh == [0, 0, 0]
    assert all(count >= 32 for count in again), again
    assert reloaded == 0


@pytest.mark.slow
def test_guesses_for_adapters_as_for_the_model(tmp_path: Path) -> None:
    """Prompt lookup changes no answer."""
    pytest.importorskip("openvino")
    model, first, _ = save_two(tmp_path, "llama")
    engine = open_on(
        model, "openvino", adapters={"a": str(first)}, speculation={"prompt_lookup": 4}
    )
    tokens = write(engine, {0: (OTHER, "a"), 1: (OTHER, None)})
    engine.close()

    assert tokens[0] == greedy(merged(model, first), OTHER, NUM_TOKENS)
    assert tokens[1] == greedy(load_reference(model), OTHER, NUM_TOKENS)


@pytest.fixture
def two(llama: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Give two adapters of the tiny Llama."""
    return save_adapter(tmp_path / "one", llama), save_adapter(tmp_path / "two", llama, seed=2)


def test_loads_and_unloads_while_it_serves(llama: Path, two: tuple[Path, Path]) -> None:
    """Sequences of an adapter that is unloaded end as they began; new ones are refused."""
    first, second = (str(folder) for folder in two)
    engine = open_tiny(llama, max_adapters=1, dtype="float32", max_sequences=4)
    engine.apply_setting("adapter:a", {"source": first})
    params = {"max_tokens": 12, "ignore_eos": True, "adapter": "a"}
    engine.admit(Work(0, {"prompt": PROMPT}, params))
    sequence = engine._sequences[0]
    engine.step()

    engine.apply_setting("adapter:a", None)
    with pytest.raises(InvalidInput, match=r"no adapter 'a'. None is loaded."):
        engine.admit(Work(1, {"prompt": PROMPT}, params))
    with pytest.raises(InvalidModel, match="still used by its last answers"):
        engine.apply_setting("adapter:b", {"source": second})
    drain(engine)
    engine.apply_setting("adapter:b", {"source": second})
    later = write(engine, {2: (PROMPT, "b")})

    assert sequence.tokens == greedy(merged(llama, two[0]), PROMPT, 12)
    assert later[2] == greedy(merged(llama, two[1]), PROMPT, NUM_TOKENS)


def test_changes_nothing_where_it_does_not_load(llama: Path, two: tuple[Path, Path]) -> None:
    """Another source for a name, one too many, and what is broken."""
    first, second = (str(folder) for folder in two)
    engine = open_tiny(llama, adapters={"a": first}, max_adapters=1, dtype="float32")
    for name, source, message in (
        ("a", second, "loaded already, from"),
        ("b", second, "its `max_adapters`"),
    ):
        with pytest.raises(InvalidModel, match=message):
            engine.apply_setting(f"adapter:{name}", {"source": source})
    engine.apply_setting("adapter:a", {"source": first})
    engine.apply_setting("adapter:nobody", None)
    with pytest.raises(InvalidModel, match="nothing that this model can be told"):
        engine.apply_setting("speed", 3)

    written = write(engine, {0: (PROMPT, "a")})
    assert written[0] == greedy(merged(llama, two[0]), PROMPT, NUM_TOKENS)


def test_lets_a_place_be_taken_again(llama: Path, two: tuple[Path, Path]) -> None:
    """Nothing of who was there before is left: a smaller one covers it whole."""
    small = save_adapter(two[0].parent / "small", llama, targets=["q_proj"], r=1, seed=5)
    engine = open_tiny(llama, max_adapters=1, dtype="float32")
    engine.apply_setting("adapter:a", {"source": str(two[0])})
    write(engine, {0: (PROMPT, "a")})
    engine.apply_setting("adapter:a", None)
    engine.apply_setting("adapter:b", {"source": str(small)})

    written = write(engine, {0: (PROMPT, "b")})
    assert written[0] == greedy(merged(llama, small), PROMPT, NUM_TOKENS)


def test_refuses_an_unknown_adapter_by_name(llama: Path, two: tuple[Path, Path]) -> None:
    """Before any work, with the nearest name, or a word on models without."""
    engine = open_tiny(llama, adapters={"support": str(two[0]), "legal": str(two[1])})
    plain = open_tiny(llama)
    for opened, name, message in (
        (engine, "suport", "Did you mean 'support'?"),
        (engine, 3, "'adapter' must be a name, not int"),
        (plain, "support", "this model takes none"),
    ):
        with pytest.raises(InvalidInput, match=message.replace("?", r"\?")):
            opened.admit(Work(0, {"prompt": PROMPT}, {"adapter": name}))
        assert opened.is_idle
    with pytest.raises(InvalidModel, match="nothing that this model can be told"):
        plain.apply_setting("adapter:a", {"source": str(two[0])})


def test_pays_nothing_without_adapters(llama: Path, two: tuple[Path, Path]) -> None:
    """A model whose file has no such key has none of the layers; with it, only those named."""
    plain = open_tiny(llama)
    named = open_tiny(llama, max_adapters=1, lora_modules=["q_proj"])

    def adapted(engine: LlmEngine) -> list[str]:
        model = engine._runner._model  # type: ignore[attr-defined]  # a ModelRunner
        parts = model.named_modules()
        return [name for name, part in parts if type(part).__name__ == "AdaptedLinear"]

    assert adapted(plain) == []
    assert [name.rpartition(".")[2] for name in adapted(named)] == ["q_proj"] * 3
    with pytest.raises(InvalidModel, match=r"'model.layers.0.mlp.down_proj', which this model"):
        named.apply_setting("adapter:a", {"source": str(two[0])})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"max_lora_rank": 2}, "has rank 4, but the model's `max_lora_rank` is 2"),
        ({"lora_modules": ["nothing"]}, "`lora_modules` names no linear layer"),
        ({"adapters": {"a": "/nowhere"}}, "Adapter 'a' was not loaded: The source '/nowhere'"),
    ],
)
def test_does_not_open_with_a_bad_adapter(
    llama: Path, two: tuple[Path, Path], config: dict[str, object], message: str
) -> None:
    """What the model file names must be there, and fit."""
    with pytest.raises(InvalidModel, match=message):
        open_tiny(llama, **{"adapters": {"a": str(two[0])}, **config})


def test_does_not_open_with_too_many(llama: Path, two: tuple[Path, Path]) -> None:
    """The model file says how many there may be."""
    adapters = {"a": str(two[0]), "b": str(two[1])}
    with pytest.raises(InvalidModel, match="2 adapters are named, but `max_adapters` is 1"):
        open_tiny(llama, adapters=adapters, max_adapters=1)


def test_refuses_an_adapter_of_another_model(tmp_path: Path, llama: Path) -> None:
    """By the first layer whose sizes differ, or that there is none of."""
    qwen = save_model(tmp_path / "qwen", "phi3")
    wide = save_adapter(tmp_path / "wide", qwen, targets=["down_proj", "qkv_proj"])
    with pytest.raises(InvalidModel, match=r"'model.layers.\d.self_attn.qkv_proj', which"):
        open_tiny(llama, adapters={"a": str(wide)}, lora_modules="all-linear")


def test_says_which_factors_are_missing(llama: Path, tmp_path: Path) -> None:
    """An adapter without all the layers that it names is no whole one."""
    folder = save_adapter(tmp_path / "a", llama, targets=["q_proj"])
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace('["q_proj"]', '["q_proj", "v_proj"]'))

    with pytest.raises(InvalidModel, match="lacks the factors of 3 layers"):
        open_tiny(llama, adapters={"a": str(folder)})


def test_refuses_devices_that_would_copy_adapters(llama: Path) -> None:
    """At load, with the reason and those that serve them."""
    plan = AdapterPlan.of_model({"max_adapters": 1}, lambda *_: None)
    assert plan is not None
    with pytest.raises(ModelLoadError, match=r"not served on openvino:GPU.*openvino:CPU"):
        plan.open(load_reference(llama), "openvino:GPU", lambda *_: None)


def test_fails_alone_where_an_adapter_overflows(llama: Path, two: tuple[Path, Path]) -> None:
    """Rows beside it do not see its infinities."""
    huge = save_adapter(two[0].parent / "huge", llama, lora_alpha=1e38)
    engine = open_tiny(llama, adapters={"huge": str(huge), "a": str(two[0])}, dtype="float32")
    params = {"max_tokens": NUM_TOKENS, "ignore_eos": True}
    engine.admit(Work(0, {"prompt": PROMPT}, {**params, "adapter": "huge"}))
    engine.admit(Work(1, {"prompt": PROMPT}, {**params, "adapter": "a"}))
    engine.admit(Work(2, {"prompt": PROMPT}, params))
    good, plain = engine._sequences[1], engine._sequences[2]
    results = ends(drain(engine))

    assert isinstance(results[0], Failure)
    assert good.tokens == greedy(merged(llama, two[0]), PROMPT, NUM_TOKENS)
    assert plain.tokens == greedy(load_reference(llama), PROMPT, NUM_TOKENS)


def test_holds_adapters_to_forms(llama: Path, two: tuple[Path, Path]) -> None:
    """In one batch: a form, an adapter, both and neither; each writes what it writes alone."""
    first, second = two
    adapters = {"first": str(first), "second": str(second)}
    engine = open_tiny(llama, max_sequences=4, adapters=adapters, max_lora_rank=8)
    form = {"regex": "([a-z]{2} ){6}"}
    asked: list[Mapping[str, object]] = [
        {"adapter": "first", "structured_outputs": form},
        {"structured_outputs": form},
        {"adapter": "second", "max_tokens": NUM_TOKENS, "ignore_eos": True},
        {"max_tokens": NUM_TOKENS, "ignore_eos": True},
    ]
    alone = [generate(engine, PROMPT, **each) for each in asked]
    for number, each in enumerate(asked):
        engine.admit(Work(number, {"prompt": PROMPT}, each))
    results = ends(drain(engine))
    texts = []
    for number, end in enumerate(alone):
        together = results[number]
        assert isinstance(end, Result), end
        assert isinstance(together, Result), together
        assert together.outputs == end.outputs
        texts.append(str(end.outputs["text"]))

    assert all(re.fullmatch(form["regex"], text) for text in texts[:2])
    assert texts[0] != texts[1]
    assert texts[2] != texts[3]
    engine.close()
