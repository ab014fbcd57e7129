"""`torchloom torchserve` with archives of each kind, written as users of TorchServe write them."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import torch
from PIL import Image
from torch import nn


sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from model_fakes.archives import make_mar


pytestmark = pytest.mark.slow

Configure = Callable[..., list[int]]
Start = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]

NET = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x)
"""

#: Two stages of its own, and all else from the base.
NUMBERS = """\
import json

import torch
from ts.torch_handler.base_handler import BaseHandler


class Numbers(BaseHandler):
    def preprocess(self, data):
        rows = [row.get("data") or row.get("body") for row in data]
        rows = [json.loads(row) if isinstance(row, (bytes, bytearray)) else row for row in rows]
        return torch.tensor(rows, dtype=torch.float32, device=self.device)

    def postprocess(self, data):
        return [{"y": row} for row in data.tolist()]
"""

#: As the ones above, in parts of two.
PARTS = """\
import os
import time

from numbers_handler import Numbers
from ts.handler_utils.micro_batching import MicroBatching


class Parts(Numbers):
    def __init__(self):
        super().__init__()
        self.handle = MicroBatching(self)

    def initialize(self, context):
        super().initialize(context)
        config = context.model_yaml_config["micro_batching"]
        self.handle.parallelism = config["parallelism"]
        self.handle.micro_batch_size = config["micro_batch_size"]

    def preprocess(self, data):
        while os.path.exists(self.context.get_request_header(0, "gate") or ""):
            time.sleep(0.01)
        self.model.sizes = getattr(self.model, "sizes", [])
        self.model.sizes.append(len(data))
        return super().preprocess(data)

    def postprocess(self, data):
        return [{**each, "sizes": sorted(self.model.sizes)} for each in super().postprocess(data)]
"""

PICTURES = """\
import torch
from torch import nn


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 7)

    def forward(self, x):
        return self.fc(x.mean((2, 3)))
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

#: A transform and an answer of its own.
BRIGHTNESS = """\
import numpy as np
import torch
from ts.torch_handler.vision_handler import VisionHandler


class Brightness(VisionHandler):
    def image_processing(self, picture):
        small = np.asarray(picture.resize((4, 4)), dtype="float32")
        return torch.from_numpy(small).permute(2, 0, 1)

    def postprocess(self, data):
        return [int(each) for each in data.argmax(1)]
"""

#: A text handler with nothing of the classifier's.
WORDS = """\
import torch
from ts.torch_handler.text_handler import TextHandler


class Words(TextHandler):
    def preprocess(self, data):
        text = data[0].get("data") or data[0].get("body")
        text = text.decode() if isinstance(text, (bytes, bytearray)) else text
        cleaned = self._remove_punctuation(self._expand_contractions(self._lowercase_text(text)))
        self.words = self._tokenize(cleaned)
        numbers = [self.source_vocab.get(word, 0) for word in self.words]
        return torch.tensor([numbers], device=self.device)

    def inference(self, data):
        return self.model(data.float().mean(1, keepdim=True).expand(1, 3))

    def postprocess(self, data):
        return [{"words": self.words, "shape": list(data.shape)}]
"""

#: One request spoils those beside it, unless each is tried alone.
SPOILT = """\
import os
import time


def handle(data, context):
    if data is None:
        return None
    while os.path.exists(context.get_request_header(0, "gate") or ""):
        time.sleep(0.01)
    bodies = [row["body"].decode() for row in data]
    if "bad" in bodies:
        raise ValueError("one of them is bad")
    if "short" in bodies:
        return ["x"] * (len(bodies) + 1)
    if "hang" in bodies:
        time.sleep(600)
    if "print" in bodies:
        for _ in range(20):
            print(("p" * 999 + chr(10)) * 50_000)
    if "exit" in bodies:
        raise SystemExit(3)
    return [f"{body} of {os.getpid()}" for body in bodies]
"""


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the one layer."""
        given: torch.Tensor = self.fc(x)
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that is up, its model store, and its three ports."""

    store: Path
    inference: httpx.Client
    management: httpx.Client
    metrics: httpx.Client

    @contextmanager
    def serving(
        self, name: str, handler: str, files: dict[str, str | bytes], config: str = "", **model: str
    ) -> Iterator[Callable[..., httpx.Response]]:
        """Serve an archive with one worker for as long as it is asked."""
        if config:
            files = {**files, "model-config.yaml": config}
            model["configFile"] = "model-config.yaml"
        make_mar(self.store, name, handler, files, **model)
        answer = self.management.post(f"/models?url={name}.mar&initial_workers=1")
        assert answer.status_code == 200, answer.text

        def ask(body: bytes, kind: str = "", gate: str = "") -> httpx.Response:
            headers = {"content-type": kind, "gate": gate}
            said = {key: value for key, value in headers.items() if value}
            return self.inference.post(f"/predictions/{name}", content=body, headers=said)

        try:
            yield ask
        finally:
            self.management.delete(f"/models/{name}").raise_for_status()

    def ask_together(
        self, name: str, ask: Callable[..., httpx.Response], first: bytes, bodies: list[bytes]
    ) -> list[httpx.Response]:
        """Ask for a batch: while one request is held, the others come to wait for its worker."""
        gate = self.store / "gate"
        gate.touch()
        with ThreadPoolExecutor(len(bodies) + 1) as clients:
            clients.submit(ask, first, gate=str(gate))
            self._wait(name, "in_flight", 1)
            answers = [clients.submit(ask, body) for body in bodies]
            self._wait(name, "queue_depth", len(bodies))
            gate.unlink()
            return [answer.result() for answer in answers]

    def _wait(self, name: str, key: str, count: int) -> None:
        """Wait until so many requests are at the worker, or in the queue before it."""
        found = -1
        while found != count:
            model = self.inference.get(f"/api/models/{name}").raise_for_status().json()
            found = model["replicas"][0]["in_flight"] if key == "in_flight" else model[key]


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, configure: Configure, start: Start
) -> Iterator[Running]:
    """Start a server without models, whose metrics are all on its page."""
    folder = tmp_path_factory.mktemp("torchserve")
    (folder / "models").mkdir()
    ports = configure(folder, "metrics_mode=prometheus", "model_metrics_auto_detect=true")
    words = "--ncs --model-store models --disable-token-auth --enable-model-api"
    with (
        start(folder, words),
        _client(ports[0]) as one,
        _client(ports[1]) as two,
        _client(ports[2]) as three,
    ):
        yield Running(store=folder / "models", inference=one, management=two, metrics=three)


def _client(port: int) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)


def _saved(value: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def _picture(mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (30, 40), 200 if mode == "L" else (200, 100, 50)).save(stream, "PNG")
    return stream.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()


@pytest.mark.filterwarnings("ignore:`torch.jit")  # archives of scripts are there all the same
@pytest.mark.parametrize("form", ["eager", "torchscript", "exported"])
def test_runs_weights_of_each_form(form: str, running: Running) -> None:
    """The handler replaces two stages; the one that is the base's is measured, as its YAML asks."""
    torch.manual_seed(0)
    net = _Net().eval()
    files: dict[str, str | bytes] = {"numbers_handler.py": NUMBERS}
    model = {"serializedFile": "net.pt"}
    stream = io.BytesIO()
    if form == "eager":
        torch.save(net.state_dict(), stream)
        files["model.py"], model["modelFile"] = NET, "model.py"
    elif form == "torchscript":
        torch.jit.save(torch.jit.trace(net, torch.ones(1, 3)), stream)  # type: ignore[no-untyped-call]  # torch's own
    else:
        torch.export.save(torch.export.export(net, (torch.ones(1, 3),)), stream)
        model["serializedFile"] = "net.pt2"
    files[model["serializedFile"]] = stream.getvalue()
    expected = net(torch.tensor([[1.0, 2.0, 3.0]])).tolist()[0]
    config = "handler:\n  profile: true\n"
    with running.serving(form, "numbers_handler.py", files, config, **model) as ask:
        assert ask(b"[1, 2, 3]").json() == {"y": pytest.approx(expected)}
        assert ask(b"[1, 2, 3]", "application/json").json() == {"y": pytest.approx(expected)}
        bad = ask(b"[1, 2")
        page = running.metrics.get("/metrics").text

    assert (bad.status_code, bad.json()["message"]) == (503, "Prediction failed")
    assert f'ts_handler_inference{{ModelName="{form}",Level="Model",' in page
    assert "ts_handler_preprocess{" not in page


def test_classifies_pictures(running: Running) -> None:
    """Five of seven classes, the likeliest first; base64 and grey pictures, too."""
    torch.manual_seed(0)
    fc = nn.Linear(3, 7)
    weights = {"fc.weight": fc.weight.detach(), "fc.bias": fc.bias.detach()}
    names = {str(number): ["n0", f"name{number}"] for number in range(7)}
    files: dict[str, str | bytes] = {
        "model.py": PICTURES,
        "net.pth": _saved(weights),
        "index_to_name.json": json.dumps(names),
    }
    model = {"modelFile": "model.py", "serializedFile": "net.pth"}
    with running.serving("pictures", "image_classifier", files, **model) as ask:
        answer = ask(_picture())
        encoded = ask(base64.b64encode(_picture()), "text/plain")
        grey = ask(_picture("L"))
        none = ask(b"no picture")

    found = answer.json()
    assert answer.content == _json(found)
    assert len(found) == 5
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert set(found) <= {f"name{number}" for number in range(7)}
    assert encoded.content == answer.content
    assert grey.status_code == 200
    assert (none.status_code, none.json()["message"]) == (503, "Prediction failed")


def test_detects_things_in_pictures(running: Running) -> None:
    """Boxes by label, those that are likely enough."""
    files: dict[str, str | bytes] = {
        "model.py": DETECTOR,
        "net.pth": _saved({}),
        "index_to_name.json": '{"1": "person", "2": "cat"}',
    }
    model = {"modelFile": "model.py", "serializedFile": "net.pth"}
    with running.serving("things", "object_detector", files, **model) as ask:
        answer = ask(_picture())

    assert answer.content == _json([{"person": [0.0, 0.0, 30.0, 40.0], "score": 0.75}])


def test_takes_the_transform_of_a_vision_handler(running: Running) -> None:
    """And its answer: all else is the base's."""
    files: dict[str, str | bytes] = {
        "brightness.py": BRIGHTNESS,
        "model.py": PICTURES,
        "net.pth": _saved({"fc.weight": torch.eye(7, 3), "fc.bias": torch.zeros(7)}),
    }
    model = {"modelFile": "model.py", "serializedFile": "net.pth"}
    with running.serving("brightness", "brightness.py", files, **model) as ask:
        assert ask(_picture()).content == b"0"


def test_gives_a_text_handler_its_vocabulary(running: Running) -> None:
    """And the steps by which texts are cleaned."""
    files: dict[str, str | bytes] = {
        "words.py": WORDS,
        "model.py": NET,
        "net.pth": _saved(_Net().state_dict()),
        "source_vocab.pt": _saved({"<unk>": 0, "it": 1, "is": 2}),
    }
    model = {"modelFile": "model.py", "serializedFile": "net.pth"}
    with running.serving("words", "words.py", files, **model) as ask:
        answer = ask(b"It's fine!", "text/plain")

    assert answer.content == _json({"words": ["it", "is", "fine"], "shape": [1, 2]})


def test_works_on_parts_of_a_batch(running: Running) -> None:
    """A batch of four goes through the stages in parts of two."""
    files: dict[str, str | bytes] = {
        "parts.py": PARTS,
        "numbers_handler.py": NUMBERS,
        "model.py": NET,
        "net.pth": _saved(_Net().state_dict()),
    }
    config = (
        "batchSize: 4\nmaxBatchDelay: 5000\nmicro_batching:\n  micro_batch_size: 2\n"
        "  parallelism:\n    preprocess: 2\n    inference: 1\n    postprocess: 1\n"
    )
    model = {"modelFile": "model.py", "serializedFile": "net.pth"}
    with running.serving("parts", "parts.py", files, config, **model) as ask:
        row = b"[1, 2, 3]"
        answers = running.ask_together("parts", ask, row, [row] * 4)

    assert [answer.status_code for answer in answers] == [200] * 4
    assert max((answer.json()["sizes"] for answer in answers), key=len) == [1, 2, 2]


def test_fails_only_what_is_bad_in_a_batch(running: Running) -> None:
    """Of three that come together; a wrong count fails all that it is the count of."""
    config = "batchSize: 3\nmaxBatchDelay: 5000\n"
    with running.serving("spoilt", "spoilt.py", {"spoilt.py": SPOILT}, config) as ask:
        bodies = [b"one", b"bad", b"other"]
        one, bad, other = running.ask_together("spoilt", ask, b"first", bodies)
        counted = running.ask_together("spoilt", ask, b"first", [b"short"] * 3)

    assert [each.status_code for each in (one, other)] == [200, 200]
    assert (bad.status_code, bad.json()["message"]) == (503, "Prediction failed")
    assert {(each.status_code, each.json()["message"]) for each in counted} == {
        (503, "number of batch response mismatched")
    }


def test_lives_with_handlers_that_do_what_they_must_not(running: Running) -> None:
    """One that prints a gigabyte, one that exits, and one that hangs: its worker is another."""
    config = "responseTimeout: 2\n"
    with running.serving("unruly", "spoilt.py", {"spoilt.py": SPOILT}, config) as ask:
        first = ask(b"first").text
        printed = ask(b"print")
        exited = ask(b"exit")
        same = ask(b"same").text
        hung = ask(b"hang")
        again = ask(b"again").text

    assert printed.status_code == 200
    assert (exited.status_code, exited.json()["message"]) == (503, "Prediction failed")
    assert first.split()[-1] == same.split()[-1]
    assert (hung.status_code, hung.json()["message"]) == (500, "Worker died.")
    assert again.split()[-1] != first.split()[-1]
