"""Runtimes: each form of weights is opened by its own."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from model_fakes.archives import HANDLERS

from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.archive.runtime.onnx import Session
from torchloom_models.archive.runtime.table import RuntimeName, Weights, name_runtime, open_weights


pytestmark = pytest.mark.usefixtures("own_process")


class Net(torch.nn.Module):
    """The net of the fixtures."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give [batch, 2]."""
        return torch.relu(self.fc(x))


@pytest.fixture
def net() -> Net:
    """Give a net, the same each time."""
    torch.manual_seed(0)
    return Net().eval()


X = torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 0.5]])


@pytest.mark.parametrize(
    ("file", "model_file", "is_exported", "name"),
    [
        ("net.pt", "net.py", False, "eager"),
        (None, "net.py", False, "eager"),
        ("net.pt", None, False, "torchscript"),
        ("net.pth", None, False, "torchscript"),
        ("net.pt2", None, False, "exported"),
        ("net.pt2", None, True, "aoti"),
        ("net.so", None, True, "aoti"),
        ("net.onnx", None, False, "onnx"),
    ],
)
def test_goes_by_what_the_archive_says(
    *, file: str | None, model_file: str | None, is_exported: bool, name: RuntimeName
) -> None:
    """A model file stands for a state_dict; else the ending tells."""
    folder = Path("/archive")
    weights = Weights(
        folder=folder,
        file=folder / file if file else None,
        model_file=folder / model_file if model_file else None,
        is_exported=is_exported,
    )

    assert name_runtime(weights) == name


@pytest.mark.parametrize(("file", "message"), [("net.bin", "no runtime"), (None, "names neither")])
def test_says_what_it_cannot_open(file: str | None, message: str) -> None:
    """The message lists what there is a runtime for."""
    with pytest.raises(InvalidModel, match=message):
        name_runtime(Weights(folder=Path("/"), file=Path(file) if file else None))


def test_opens_a_state_dict(net: Net, tmp_path: Path) -> None:
    """The class of the model file gets the weights, and is set to answer."""
    torch.save(net.state_dict(), tmp_path / "net.pt")
    file = HANDLERS / "net.py"
    opened = open_weights(
        "eager", Weights(folder=HANDLERS, file=tmp_path / "net.pt", model_file=file)
    )

    assert isinstance(opened, torch.nn.Module)
    assert not opened.training
    assert torch.equal(opened(X), net(X))


def test_runs_nothing_that_weights_hold(net: Net, tmp_path: Path) -> None:
    """A pickled module is code: it is refused, with what to save in its place."""
    torch.save(net, tmp_path / "net.pt")
    weights = Weights(folder=HANDLERS, file=tmp_path / "net.pt", model_file=HANDLERS / "net.py")

    with pytest.raises(ModelLoadError, match=r"torch\.save\(model\.state_dict\(\)"):
        open_weights("eager", weights)
    torch.save([1], tmp_path / "net.pt")
    with pytest.raises(ModelLoadError, match="a list, not a state_dict"):
        open_weights("eager", weights)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expected only one class as model definition.*none"),
        ("class A: pass\nclass B: pass", "A, B"),
        ("class A: pass", "makes a A, no torch"),
    ],
)
def test_refuses_a_model_file_without_the_one_class(
    text: str, message: str, tmp_path: Path
) -> None:
    """The message says what it has."""
    file = tmp_path / f"archives_{abs(hash(text))}.py"
    file.write_text(text)

    with pytest.raises(InvalidModel, match=message):
        open_weights("eager", Weights(folder=tmp_path, file=None, model_file=file))


def test_refuses_a_model_file_that_is_not_there(tmp_path: Path) -> None:
    """The message names it."""
    weights = Weights(folder=tmp_path, file=None, model_file=tmp_path / "net.py")

    with pytest.raises(InvalidModel, match=r"'net\.py' is not in the archive"):
        open_weights("eager", weights)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_opens_torchscript(net: Net, tmp_path: Path) -> None:
    """What torch.jit.save has written answers as the net does."""
    script = torch.jit.trace(net, X)  # type: ignore[no-untyped-call]  # it has no types
    torch.jit.save(script, tmp_path / "net.pt")  # type: ignore[no-untyped-call]  # the same
    opened = open_weights("torchscript", Weights(folder=tmp_path, file=tmp_path / "net.pt"))

    assert callable(opened)
    assert torch.equal(opened(X), net(X))


@pytest.mark.parametrize("name", ["torchscript", "exported", "aoti"])
def test_refuses_weights_of_another_form(name: RuntimeName, net: Net, tmp_path: Path) -> None:
    """A state_dict in place of a program is told by each runtime, and nothing of it runs."""
    file = tmp_path / "net.pt2"
    torch.save(net.state_dict(), file)

    with pytest.raises(ModelLoadError, match=r"net\.pt2"):
        open_weights(name, Weights(folder=tmp_path, file=file))


def test_opens_an_exported_program(net: Net, tmp_path: Path) -> None:
    """What torch.export.save has written answers as the net does."""
    program = torch.export.export(net, (X,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, tmp_path / "net.pt2")
    opened = open_weights("exported", Weights(folder=tmp_path, file=tmp_path / "net.pt2"))

    assert callable(opened)
    assert torch.allclose(opened(X[:2]), net(X))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_opens_code_of_aotinductor(net: Net, tmp_path: Path) -> None:
    """A package is loaded and answers as the net does."""
    program = torch.export.export(net, (X,))
    file = tmp_path / "net.pt2"
    torch._inductor.aoti_compile_and_package(program, package_path=str(file))
    opened = open_weights("aoti", Weights(folder=tmp_path, file=file))

    assert callable(opened)
    assert torch.allclose(opened(X), net(X))


def test_says_what_onnx_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Onnxruntime is not needed for anything else, and so may be missing."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(ModelLoadError, match="pip install onnxruntime"):
        open_weights("onnx", Weights(folder=tmp_path, file=tmp_path / "net.onnx"))


class _Session:
    """Doubles, as onnxruntime's sessions do it: arrays by name in, a list out."""

    num_outputs = 1

    def __init__(self, path: str, providers: list[str]) -> None:
        self.path = path
        self.providers = providers

    def get_inputs(self) -> list[types.SimpleNamespace]:
        """Name the inputs."""
        return [types.SimpleNamespace(name="x")]

    def run(self, _: object, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Double it."""
        return [feed["x"] * 2] * self.num_outputs


def _runtime(open_session: Callable[..., object]) -> types.ModuleType:
    """Make an onnxruntime that has a CPU, and notes what it is asked for."""
    module = types.ModuleType("onnxruntime")
    module.get_available_providers = lambda: ["CPUExecutionProvider"]  # type: ignore[attr-defined]  # made for the test
    module.InferenceSession = open_session  # type: ignore[attr-defined]  # the same
    return module


def test_opens_onnx_where_the_device_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA is asked for only where onnxruntime has it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", _runtime(_Session))
    weights = Weights(folder=tmp_path, file=tmp_path / "net.onnx", device="cuda:0")
    opened = open_weights("onnx", weights)

    assert isinstance(opened, Session)
    assert (opened.path, opened.providers) == (str(weights.file), ["CPUExecutionProvider"])


def test_calls_onnx_as_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors go in by position and come out, so that handlers need not know what it is."""
    monkeypatch.setitem(sys.modules, "onnxruntime", _runtime(_Session))
    opened = open_weights("onnx", Weights(folder=tmp_path, file=tmp_path / "net.onnx"))
    assert isinstance(opened, Session)
    one = opened(X)
    opened._session.num_outputs = 2
    two = opened(X)

    assert torch.equal(one, 2 * X)
    assert isinstance(two, tuple)
    assert torch.equal(two[1], 2 * X)


def test_says_why_onnx_does_not_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own words, and the file's name."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("INVALID_PROTOBUF")

    monkeypatch.setitem(sys.modules, "onnxruntime", _runtime(fail))

    with pytest.raises(ModelLoadError, match=r"'net\.onnx': INVALID_PROTOBUF"):
        open_weights("onnx", Weights(folder=tmp_path, file=tmp_path / "net.onnx"))


def _needing_tensorrt(monkeypatch: pytest.MonkeyPatch, file: Path) -> Path:
    """Make torch refuse a script until `torch_tensorrt` has been imported, as it does."""
    torch.jit.script(torch.nn.ReLU()).save(str(file))
    load = torch.jit.load

    def refuse(*args: object, **kwargs: object) -> object:
        if "torch_tensorrt" not in sys.modules:
            raise RuntimeError("Unknown type name '__torch__.torch.classes.tensorrt.Engine'")
        return load(*args, **kwargs)

    monkeypatch.setattr(torch.jit, "load", refuse)
    return file


@pytest.mark.filterwarnings("ignore")
def test_imports_what_scripts_of_tensorrt_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their operators are there once its package is imported."""
    file = _needing_tensorrt(monkeypatch, tmp_path / "net.pt")
    (tmp_path / "torch_tensorrt.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        opened = open_weights("torchscript", Weights(folder=tmp_path, file=file, device="cpu"))
    finally:
        sys.modules.pop("torch_tensorrt", None)

    assert opened(torch.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]


@pytest.mark.filterwarnings("ignore")
def test_names_what_scripts_of_tensorrt_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is not installed, the message says so."""
    file = _needing_tensorrt(monkeypatch, tmp_path / "net.pt")
    with pytest.raises(ModelLoadError, match="install torch_tensorrt"):
        open_weights("torchscript", Weights(folder=tmp_path, file=file, device="cpu"))
