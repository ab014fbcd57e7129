"""Built-in handlers, and handlers of users that are made from them."""

from __future__ import annotations

import base64
import importlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from model_fakes.archives import HANDLERS, make_mar
from PIL import Image

from torchloom.engine import Chunk, Result, Work
from torchloom.errors import HandlerFailed, ModelLoadError
from torchloom_models.archive.engine import HandlerEngine


#: Opens an archive with the keys of a model file.
Open = Callable[..., HandlerEngine]

CLASSIFIER = """\
import torch
from torch import nn

class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.arange(21.0).reshape(7, 3))
    def forward(self, x):
        return x.mean((2, 3)) @ self.weights.T
"""

SEGMENTER = """\
import torch
from torch import nn

class Segmenter(nn.Module):
    def forward(self, x):
        return {"out": torch.cat([x, -x], 1)}
"""

DETECTOR = """\
import torch
from torch import nn

class Detector(nn.Module):
    def forward(self, pictures):
        return [
            {
                "boxes": torch.tensor([[0.0, 0.0, p.shape[2], p.shape[1]], [1.0, 1.0, 2.0, 2.0]]),
                "labels": torch.tensor([1, 2]),
                "scores": torch.tensor([0.75, 0.25]),
            }
            for p in pictures
        ]
"""

TEXTS = """\
import torch
from torch import nn

class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.EmbeddingBag(6, 2, mode="sum")
    def forward(self, numbers, offsets):
        return self.embedding(numbers, offsets)
"""


def ask(engine: HandlerEngine, *bodies: object, **params: object) -> list[object]:
    """Ask an engine for a batch; give the handler's items."""
    for number, body in enumerate(bodies):
        engine.admit(Work(number, {"body": body}, params))
    events = list(engine.step())
    return [event.outputs["value"] for event in events if isinstance(event, Result)]


def tensors(**values: torch.Tensor) -> bytes:
    """Write weights."""
    stream = io.BytesIO()
    torch.save(values, stream)
    return stream.getvalue()


def picture(width: int, height: int, mode: str = "RGB") -> bytes:
    """Make the file of a picture."""
    stream = io.BytesIO()
    Image.new(mode, (width, height), 200 if mode == "L" else (200, 100, 50)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def numbers(open_archive: Open, tmp_path: Path) -> HandlerEngine:
    """Open a handler that is BaseHandler almost as it is."""
    weights = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}
    files = {"net.pt": tensors(**weights), "net.py": (HANDLERS / "net.py").read_text()}
    source = make_mar(
        tmp_path, "numbers", "base_json.py", files, serializedFile="net.pt", modelFile="net.py"
    )
    return open_archive(source, max_size=4)


def test_runs_a_model_on_lists(numbers: HandlerEngine) -> None:
    """A batch of lists goes through the model together."""
    assert ask(numbers, [1, 2, 3], [4, 5, 6]) == [[6.0, 6.0], [15.0, 15.0]]


def test_describes_and_explains(numbers: HandlerEngine) -> None:
    """What is asked for is told by headers, and what it says of itself needs no rows."""
    assert ask(numbers, None, is_describe=True) == [{"inputs": "lists of numbers"}]
    assert ask(numbers, [1.0, 2.0, 3.0], is_explain=True) == [{"target": 0, "sum": 6.0}]


def test_measures_each_call(numbers: HandlerEngine) -> None:
    """The time of a call is among the metrics of the model."""
    ask(numbers, [1, 2, 3])
    samples = numbers.take_samples()

    assert [(each.name, each.unit) for each in samples] == [("HandlerTime", "Milliseconds")]
    assert samples[0].labels == {"ModelName": "model", "Level": "Model"}


def test_measures_each_stage_where_it_is_asked_to(open_archive: Open, tmp_path: Path) -> None:
    """`handler.profile` of the configuration adds the stages."""
    files = {
        "net.py": (HANDLERS / "net.py").read_text(),
        "model-config.yaml": "handler:\n  profile: true\n",
    }
    source = make_mar(tmp_path, "numbers", "base_handler", files, modelFile="net.py")
    engine = open_archive(source)
    ask(engine, [1, 2, 3])

    assert [each.name for each in engine.take_samples()] == [
        "ts_handler_preprocess",
        "ts_handler_inference",
        "ts_handler_postprocess",
        "HandlerTime",
    ]


def test_compiles_as_its_configuration_says(open_archive: Open, tmp_path: Path) -> None:
    """`pt2` goes to torch.compile, and answers stay what they were."""
    files = {
        "net.py": (HANDLERS / "net.py").read_text(),
        "model-config.yaml": "pt2:\n  compile: {enable: true, backend: eager}\n",
    }
    source = make_mar(tmp_path, "numbers", "base_handler", files, modelFile="net.py")
    engine = open_archive(source)

    (answer,) = ask(engine, [1, 2, 3])
    assert isinstance(answer, list)
    assert len(answer) == 2


def test_does_not_serve_what_it_cannot_compile(open_archive: Open, tmp_path: Path) -> None:
    """A backend that is not there keeps the model from serving."""
    files = {
        "net.py": (HANDLERS / "net.py").read_text(),
        "model-config.yaml": "pt2: indcutor\n",
    }
    source = make_mar(tmp_path, "numbers", "base_handler", files, modelFile="net.py")

    with pytest.raises(ModelLoadError, match="no backend 'indcutor'"):
        open_archive(source)


@pytest.fixture
def classifier(open_archive: Open, tmp_path: Path) -> HandlerEngine:
    """Open the built-in classifier."""
    names = json.dumps({"6": ["n6", "cat"], "5": "dog"})
    files = {"net.py": CLASSIFIER, "index_to_name.json": names}
    source = make_mar(tmp_path, "classes", "image_classifier", files, modelFile="net.py")
    return open_archive(source, max_size=8)


def test_classifies_pictures(classifier: HandlerEngine) -> None:
    """Five classes by label, the likeliest first; files, base64 and tensors alike."""
    file = picture(300, 260)
    whole, text, grey = ask(
        classifier, file, base64.b64encode(file).decode(), picture(224, 300, "L")
    )

    assert isinstance(whole, dict)
    assert isinstance(grey, dict)
    assert list(whole) == ["cat", "dog", "4", "3", "2"]
    assert whole == pytest.approx(text)
    assert list(whole.values()) == sorted(whole.values(), reverse=True)
    assert len(grey) == 5


def test_classifies_tensors(classifier: HandlerEngine) -> None:
    """Nested lists of numbers are taken as they are."""
    (answer,) = ask(classifier, np.full((3, 4, 4), 0.5).tolist())

    assert isinstance(answer, dict)
    assert next(iter(answer)) == "cat"


def test_fails_a_picture_that_is_none_alone(classifier: HandlerEngine) -> None:
    """The call fails, so that the worker tries each picture by itself."""
    with pytest.raises(HandlerFailed) as caught:
        ask(classifier, picture(300, 300), b"no picture")
    assert "UnidentifiedImageError" in caught.value.faults[0].message


def test_needs_captum_for_explanations(
    classifier: HandlerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing is said, and the model serves predictions without it."""
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(HandlerFailed) as caught:
        ask(classifier, picture(300, 300), is_explain=True)
    assert "pip install captum" in caught.value.faults[0].message


def test_explains_pictures(classifier: HandlerEngine) -> None:
    """Each number of the picture has a share in the answer; those of a channel are alike here."""
    pytest.importorskip("captum")
    (answer,) = ask(classifier, picture(300, 300), is_explain=True)
    found = np.asarray(answer)

    assert found.shape == (3, 224, 224)
    # The first class is the mean of channels weighed by 0, 1 and 2.
    assert found.reshape(3, -1).sum(1) == pytest.approx(_weighed_channels(), rel=1e-3)


def _weighed_channels() -> list[float]:
    means, deviations = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    colours = zip((200, 100, 50), means, deviations, strict=True)
    return [
        weight * (value / 255 - mean) / deviation
        for weight, (value, mean, deviation) in enumerate(colours)
    ]


def test_segments_pictures(open_archive: Open, tmp_path: Path) -> None:
    """Each pixel has its class and its probability."""
    source = make_mar(tmp_path, "s", "image_segmenter", {"net.py": SEGMENTER}, modelFile="net.py")
    (answer,) = ask(open_archive(source), picture(256, 256))
    found = np.asarray(answer)

    assert found.shape == (224, 224, 2)
    assert set(found[:, :, 0].ravel()) == {0.0}
    assert 0.3 < found[0, 0, 1] < 0.5


def test_detects_things_in_pictures_of_any_size(open_archive: Open, tmp_path: Path) -> None:
    """Boxes that are likely enough, by label."""
    names = json.dumps({"object_type_names": ["__background__", "person"]})
    files = {"net.py": DETECTOR, "index_to_name.json": names}
    source = make_mar(tmp_path, "d", "object_detector", files, modelFile="net.py")

    assert ask(open_archive(source, max_size=2), picture(30, 20), picture(10, 10)) == [
        [{"person": [0.0, 0.0, 30.0, 20.0], "score": 0.75}],
        [{"person": [0.0, 0.0, 10.0, 10.0], "score": 0.75}],
    ]


def _texts(tmp_path: Path, vocabulary: object) -> Path:
    stream = io.BytesIO()
    torch.save(vocabulary, stream)
    weights = torch.tensor([[0.0, 0], [1, 0], [2, 0], [0, 9], [0, 0], [0, 0]])
    files = {
        "net.py": TEXTS,
        "net.pt": tensors(**{"embedding.weight": weights}),
        "source_vocab.pt": stream.getvalue(),
        "index_to_name.json": json.dumps({"0": "World", "1": "Sports"}),
    }
    return make_mar(
        tmp_path, "t", "text_classifier", files, modelFile="net.py", serializedFile="net.pt"
    )


def test_classifies_texts(open_archive: Open, tmp_path: Path) -> None:
    """Words and pairs of words count; tags, accents, signs and capitals do not."""
    tokens = {"<unk>": 0, "hello": 1, "world": 2, "hello world": 3}
    (answer,) = ask(open_archive(_texts(tmp_path, tokens)), b"<b>H\xc3\xa9llo</b>, World!")
    expected = torch.softmax(torch.tensor([3.0, 9.0]), 0).tolist()

    assert answer == pytest.approx({"World": expected[0], "Sports": expected[1]})


def test_explains_texts(open_archive: Open, tmp_path: Path) -> None:
    """How much each word counts, then each pair; for the class that is asked for."""
    pytest.importorskip("captum")
    tokens = {"<unk>": 0, "hello": 1, "world": 2, "hello world": 3}
    engine = open_archive(_texts(tmp_path, tokens))
    (first,) = ask(engine, b"Hello, World!", is_explain=True)
    (second,) = _ask_fields(engine, {"data": b"Hello, World!", "target": b"1"})
    words = ["hello", "world", "hello world"]

    assert first == {
        "importances": [pytest.approx([1 / 5**0.5, 2 / 5**0.5, 0.0])],
        "words": words,
    }
    assert second == {"importances": [pytest.approx([0.0, 0.0, 1.0])], "words": words}


def _ask_fields(engine: HandlerEngine, fields: dict[str, object]) -> list[object]:
    engine.admit(Work(0, fields, {"is_explain": True}))
    return [event.outputs["value"] for event in engine.step() if isinstance(event, Result)]


def test_answers_one_text_of_a_batch_at_a_time(open_archive: Open, tmp_path: Path) -> None:
    """The call gives one item for two rows, so that the worker tries each by itself."""
    engine = open_archive(_texts(tmp_path, ["<unk>", "hello", "a", "b", "c", "d"]), max_size=2)

    with pytest.raises(HandlerFailed, match="mismatched"):
        ask(engine, "hello", "world")


def test_refuses_a_vocabulary_that_is_code(open_archive: Open, tmp_path: Path) -> None:
    """The message says what to save in its place."""
    with pytest.raises(ModelLoadError, match=r"vocab\.get_stoi"):
        open_archive(_texts(tmp_path, io.StringIO))


def test_streams_what_a_handler_sends_in_between(open_archive: Open, tmp_path: Path) -> None:
    """Each piece goes to its own request, before the last."""
    engine = open_archive(make_mar(tmp_path, "streaming", "streaming.py"), max_size=2)
    chunks: list[Chunk] = []
    engine.tell_through(chunks.append)

    assert ask(engine, "a", "b") == ["end", "end"]
    bodies = [(each.task_id, each.data["data"]["body"]) for each in chunks]  # type: ignore[index]  # outputs
    assert bodies == [(step % 2, f"{'ab'[step % 2]}-{step // 2} ".encode()) for step in range(6)]


@pytest.mark.parametrize("name", ["ts.handler_utils.utils", "ts.protocol.otf_message_handler"])
@pytest.mark.usefixtures("ts")
def test_has_both_places_of_intermediate_answers(name: str) -> None:
    """The older one is the same."""
    module = importlib.import_module(name)

    module.send_intermediate_predict_response(["x"], {0: "r"}, "ok", 200)
    assert module.send_intermediate_predict_response.__name__.startswith("send")


def test_works_on_parts_of_a_batch(open_archive: Open, tmp_path: Path) -> None:
    """Parts have the size that is asked for, and answers come in order."""
    config = (
        "micro_batching:\n  micro_batch_size: 2\n"
        "  parallelism: {preprocess: 1, inference: 2, postprocess: 1}\n"
    )
    source = make_mar(tmp_path, "micro", "micro.py", {"model-config.yaml": config})
    engine = open_archive(source, max_size=8)

    assert ask(engine, 1, 2, 3, 4, 5) == [[2, 2], [2, 4], [2, 6], [2, 8], [1, 10]]


def test_takes_all_that_a_handler_measures(open_archive: Open, tmp_path: Path) -> None:
    """Every call of the metrics' face gives a value."""
    engine = open_archive(make_mar(tmp_path, "measuring", "measuring.py"))

    assert ask(engine, 1) == ["ok"]
    assert [each.name for each in engine.take_samples()] == [
        "Calls",
        "Calls",
        "Rows",
        "Took",
        "Held",
        "Share",
        "Wrong",
        "Own",
    ]


@pytest.mark.usefixtures("ts")
def test_has_what_users_test_with(tmp_path: Path) -> None:
    """A context for tests of handlers, without a server."""
    mock = importlib.import_module("ts.torch_handler.unit_tests.test_utils.mock_context")
    folder = importlib.import_module("ts.torch_handler.unit_tests.test_utils.model_dir")
    base = importlib.import_module("ts.torch_handler.base_handler")
    folder.copy_files(str(HANDLERS), str(tmp_path), ["net.py"])
    torch.save({"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}, tmp_path / "net.pt")
    context = mock.MockContext(model_pt_file="net.pt", model_dir=str(tmp_path), model_file="net.py")
    handler = base.BaseHandler()
    handler.initialize(context)

    assert handler.handle([{"body": [1, 2, 3]}], context) == [[6.0, 6.0]]
    assert context.get_request_id()


@pytest.mark.usefixtures("ts")
@pytest.mark.parametrize(
    "path",
    [
        "ts.context.Context",
        "ts.handler_utils.micro_batching.MicroBatching",
        "ts.handler_utils.timer.timed",
        "ts.metrics.caching_metric.CachingMetric",
        "ts.metrics.dimension.Dimension",
        "ts.metrics.metric.Metric",
        "ts.metrics.metric_abstract.MetricAbstract",
        "ts.metrics.metric_cache_abstract.MetricCacheAbstract",
        "ts.metrics.metric_cache_errors.MetricsCacheKeyError",
        "ts.metrics.metric_cache_yaml_impl.MetricsCacheYamlImpl",
        "ts.metrics.metric_type_enum.MetricTypes",
        "ts.metrics.metrics_store.MetricsStore",
        "ts.metrics.unit.Units",
        "ts.service.emit_metrics",
        "ts.torch_handler.densenet_handler.DenseNetHandler",
        "ts.torch_handler.request_envelope.base.BaseEnvelope",
        "ts.torch_handler.text_handler.TextHandler",
        "ts.torch_handler.vision_handler.VisionHandler",
        "ts.utils.util.PT2Backend",
        "ts.utils.util.PredictionException",
        "ts.utils.util.check_valid_pt2_backend",
        "ts.utils.util.get_yaml_config",
        "ts.utils.util.list_classes_from_module",
        "ts.utils.util.load_compiler_config",
        "ts.utils.util.load_label_mapping",
        "ts.utils.util.map_class_to_label",
    ],
)
def test_has_what_handlers_import(path: str) -> None:
    """Each name is where TorchServe has it."""
    module, _, name = path.rpartition(".")

    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.usefixtures("ts")
def test_writes_metrics_of_the_older_face() -> None:
    """A counter adds up; both faces have one kind of dimension."""
    metric = importlib.import_module("ts.metrics.metric")
    dimension = importlib.import_module("ts.metrics.dimension").Dimension("Level", "Model")
    one = metric.Metric("Calls", 1, "count", [dimension], "r0", "counter")
    one.update(2)

    assert str(one).startswith("Calls.Count:3|#Level:Model|#hostname:")
    assert str(one).endswith(",r0")
    assert (one.to_dict()["Value"], one.to_dict()["Unit"]) == (3, "Count")
    assert dimension.to_dict() == {"Name": "Level", "Value": "Model"}


@pytest.mark.usefixtures("ts")
@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("Don't, it's mine", "Do not, it is mine"),
        ("we'd've gone; they'll've seen", "we would have gone; they will have seen"),
        ("I'm sure y'all won't", "I am sure you all will not"),
        ("ain't can't've o'clock", "is not cannot have of the clock"),
        ("the dog's bone", "the dog's bone"),
    ],
)
def test_writes_out_what_words_are_short_for(text: str, whole: str) -> None:
    """Possessives are none of those."""
    handler = importlib.import_module("ts.torch_handler.text_handler")

    assert handler.TextHandler()._expand_contractions(text) == whole


@pytest.mark.usefixtures("ts")
def test_cleans_texts_of_html() -> None:
    """Tags go, and so do the names of characters."""
    handler = importlib.import_module("ts.torch_handler.text_handler")

    assert handler.TextHandler()._remove_html_tags("<b>a</b>&amp; x &#39;y<br/>z") == "a x yz"
