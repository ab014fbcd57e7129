"""Handlers as those of TorchServe's examples are written, each with a model of the same shape."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from model_fakes.archives import make_mar
from PIL import Image
from torch import nn

from torchloom.engine import Chunk, Result, Work
from torchloom_models.archive.context import Batch, Context
from torchloom_models.archive.engine import HandlerEngine
from torchloom_models.archive.intermediate import send_intermediate_predict_response


pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")

#: Opens an archive with the keys of a model file.
Open = Callable[..., HandlerEngine]

#: Dropout that is on takes away all there is.
DROPPING = """\
import torch
from torch import nn

class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.drop = nn.Dropout(1.0)
    def forward(self, x):
        return self.drop(x * self.weight)
"""

ONE_CHANNEL = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.look = nn.Conv2d(1, 4, 3)
    def forward(self, x):
        return self.look(x).mean((2, 3))
"""

YOLO = """\
import torch

class Found:
    names = {0: "person", 1: "bus"}
    def __init__(self, picture):
        self.classes = [0.0, 0.0, 1.0] if picture.mean() > 0.1 else [1.0]

class YOLO:
    def __init__(self, path):
        self.path = path
    def to(self, device):
        return self
    def __call__(self, pictures):
        if not isinstance(pictures, torch.Tensor) or pictures.dim() != 4:
            raise TypeError(f"pictures are one tensor, not {type(pictures)}")
        return [Found(each) for each in pictures]
"""

PAINTER = """\
from PIL import Image

class Painter:
    def __init__(self, colours):
        self.colours = colours
    def paint(self, colour, number):
        if colour not in self.colours:
            raise ValueError(colour)
        return Image.new("RGB", (number, 1), colour)
"""


class Weighed(nn.Module):
    """Drops all, unless it is set to evaluate."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give what is left."""
        return self.drop(x)


def ask(engine: HandlerEngine, *rows: Mapping[str, object], **params: object) -> list[object]:
    """Ask an engine for a batch of rows; give the handler's items."""
    for number, row in enumerate(rows):
        engine.admit(Work(number, row, params))
    events = list(engine.step())
    return [event.outputs["value"] for event in events if isinstance(event, Result)]


def saved(value: object) -> bytes:
    """Write what torch saves."""
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def picture(grey: int, width: int = 28, mode: str = "L") -> bytes:
    """Make the file of a picture of one grey."""
    stream = io.BytesIO()
    colour = grey if mode == "L" else (grey, grey, grey)
    Image.new(mode, (width, 28), colour).save(stream, "PNG")
    return stream.getvalue()


def test_sets_up_a_model_that_a_handler_has_made(open_archive: Open, tmp_path: Path) -> None:
    """Whoever replaces `_load_pickled_model` need not say `eval()`."""
    files = {"dropping.py": DROPPING, "net.pth": saved({"weight": torch.full((3,), 2.0)})}
    source = make_mar(
        tmp_path, "own", "own_loader.py", files, modelFile="dropping.py", serializedFile="net.pth"
    )

    assert ask(open_archive(source), {"body": [1.0, 2.0, 3.0]}) == [[2.0, 4.0, 6.0]]


def test_sets_up_a_script_that_a_handler_has_opened(open_archive: Open, tmp_path: Path) -> None:
    """The same of `_load_torchscript_model`, of a script that was saved while it trained."""
    torch.jit.script(Weighed().train()).save(str(tmp_path / "net.pt"))
    files = {"net.pt": (tmp_path / "net.pt").read_bytes()}
    source = make_mar(tmp_path, "own", "own_loader.py", files, serializedFile="net.pt")

    assert ask(open_archive(source), {"body": [1.0, 2.0, 3.0]}) == [[1.0, 2.0, 3.0]]


def test_gives_pictures_as_they_are_to_steps_of_a_handler(
    open_archive: Open, tmp_path: Path
) -> None:
    """Grey digits have one channel, as the model has been trained on."""
    files = {"one_channel.py": ONE_CHANNEL}
    engine = open_archive(
        make_mar(tmp_path, "digits", "digits.py", files, modelFile="one_channel.py"), max_size=2
    )
    answers = ask(engine, {"body": picture(255)}, {"body": picture(0)})

    assert all(answer in range(4) for answer in answers)
    assert len(answers) == 2
    assert {each.name for each in engine.take_samples()} == {"SizeOfImage", "HandlerTime"}


def test_hands_pictures_of_one_size_on_as_one_tensor(open_archive: Open, tmp_path: Path) -> None:
    """What subclasses ObjectDetector may have a model that takes no list."""
    source = make_mar(tmp_path, "yolo", "stacked_detector.py", {"toy_yolo.py": YOLO})
    engine = open_archive(source, max_size=2)

    assert ask(engine, {"body": picture(200)}, {"data": picture(0)}) == [
        {"person": 2, "bus": 1},
        {"bus": 1},
    ]


class Boxes(nn.Module):
    """A detector as scripts of torchvision's are: of a list."""

    def forward(self, pictures: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        """Give each picture's size as its box."""
        return [
            {
                "boxes": torch.tensor([[0.0, 0.0, float(p.shape[2]), float(p.shape[1])]]),
                "labels": torch.tensor([1]),
                "scores": torch.tensor([0.75]),
            }
            for p in pictures
        ]


class StackedBoxes(nn.Module):
    """A detector as traced ones are: of a tensor."""

    def forward(self, pictures: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        """Give the width of all as the one box of each."""
        given: list[dict[str, torch.Tensor]] = []
        for _ in range(pictures.shape[0]):
            box = torch.tensor([[0.0, 0.0, float(pictures.shape[3]), 28.0]])
            found = {"boxes": box, "labels": torch.tensor([1]), "scores": torch.tensor([0.75])}
            given.append(found)
        return given


@pytest.mark.parametrize("model", [Boxes(), StackedBoxes()])
def test_detects_by_scripts_of_both_kinds(
    model: nn.Module, open_archive: Open, tmp_path: Path
) -> None:
    """A script says itself whether it takes a list."""
    torch.jit.script(model).save(str(tmp_path / "net.pt"))
    files = {"net.pt": (tmp_path / "net.pt").read_bytes()}
    source = make_mar(tmp_path, "d", "object_detector", files, serializedFile="net.pt")
    engine = open_archive(source, max_size=2)

    assert (
        ask(engine, {"body": picture(9, 30)}, {"body": picture(8, 30)})
        == [[{"1": [0.0, 0.0, 30.0, 28.0], "score": 0.75}]] * 2
    )


def _micro(tmp_path: Path) -> Path:
    section = "micro_batching: {micro_batch_size: 2, parallelism: {inference: 2}}\n"
    return make_mar(tmp_path, "parts", "part_streams.py", {"model-config.yaml": section})


def test_streams_to_each_part_of_a_batch(open_archive: Open, tmp_path: Path) -> None:
    """A stage knows which part it works on, and so whose answers it sends."""
    engine = open_archive(_micro(tmp_path), max_size=3)
    chunks: list[Chunk] = []
    engine.tell_through(chunks.append)

    assert ask(engine, {"body": "a"}, {"body": "b"}, {"body": "c"}) == ["", "", ""]
    told: dict[int, list[object]] = {}
    for each in chunks:
        told.setdefault(each.task_id, []).append(each.data["data"]["body"])  # type: ignore[index]  # outputs
    assert told == {
        place: [f"{text}:one ".encode(), f"{text}:two ".encode()]
        for place, text in enumerate("abc")
    }


@pytest.mark.usefixtures("ts")
def test_sends_to_no_request_that_is_not_of_the_batch() -> None:
    """A piece that comes late is nobody else's."""
    context = Context("m", "/", {}, 2, None, "0.12.0")
    sent: list[tuple[int, object]] = []
    context.begin(
        Batch(["a", "b"], [{}, {}], ["", ""], lambda place, item: sent.append((place, item)))
    )
    send_intermediate_predict_response(["one"], {0: "b"}, "ok", 200, context)
    with pytest.raises(ValueError, match="no request 'z'"):
        send_intermediate_predict_response(["two"], {0: "z"}, "ok", 200, context)
    context.end()

    assert sent == [(1, "one")]


def test_describes_and_explains_in_parts_too(open_archive: Open, tmp_path: Path) -> None:
    """Neither goes through the stages as a prediction does."""
    engine = open_archive(_micro(tmp_path), max_size=3)

    assert ask(engine, {}, is_describe=True) == [{"parts": 2}]
    assert ask(engine, {"body": "a", "target": b"3"}, is_explain=True) == [
        {"text": "a", "target": 3}
    ]


def test_unpacks_a_model_beside_itself(open_archive: Open, tmp_path: Path) -> None:
    """The archive's folder is where it runs, may be written, and is looked for modules in."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("studio/__init__.py", "")
        packed.writestr("studio/painter.py", PAINTER)
    held = {"studio.zip": stream.getvalue(), "colours.txt": "red blue"}
    engine = open_archive(make_mar(tmp_path, "zipped", "zipped.py", held), max_size=2)
    engine.admit(Work(0, {"body": {"number": 3, "colour": "red"}}))
    engine.admit(Work(1, {"data": {"colour": "blue"}}))
    files = [each.outputs["body"] for each in engine.step() if isinstance(each, Result)]

    assert [Image.open(io.BytesIO(each)).size for each in files] == [(3, 1), (1, 1)]  # type: ignore[arg-type]  # bytes


class Lengths(nn.Module):
    """A script that takes texts, as those with a tokenizer inside do."""

    def forward(self, texts: list[str]) -> torch.Tensor:
        """Weigh each text by its length."""
        return torch.tensor([[float(len(text)), 0.0] for text in texts])


def test_cleans_texts_for_a_script_that_takes_them(open_archive: Open, tmp_path: Path) -> None:
    """`ts.utils.util` has what takes tags away."""
    torch.jit.script(Lengths()).save(str(tmp_path / "net.pt"))
    files = {
        "net.pt": (tmp_path / "net.pt").read_bytes(),
        "index_to_name.json": json.dumps({"0": "long", "1": "short"}),
    }
    source = make_mar(tmp_path, "clean", "clean_texts.py", files, serializedFile="net.pt")
    engine = open_archive(source, max_size=2)
    tagged, plain = ask(engine, {"data": b"<b>Ab</b>&amp;"}, {"body": "ab"})

    assert tagged == plain
    assert list(plain) == ["long", "short"]  # type: ignore[call-overload]  # a mapping
