"""Modules and exported programs as engines."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from model_fakes.modules import Scale
from safetensors.torch import save_file

from torchloom.device import Device
from torchloom.engine import Result, Values, Work
from torchloom.errors import BatchContractError, InvalidInput, InvalidModel, ModelLoadError
from torchloom_models.module import ModuleEngine, open_module
from torchloom_models.program import load_program


pytestmark = pytest.mark.slow


@pytest.fixture
def classes() -> str:
    """Give the name of a module that holds classes of modules."""
    return "model_fakes.modules"


def open_class(classes: str, name: str = "Scale", **config: object) -> ModuleEngine:
    """Open one of the classes above, eager unless told otherwise."""
    base = {"class": f"{classes}:{name}", "functions": [classes], "compile": "eager"}
    return open_module({**base, **config}, Device("cpu"), lambda *_: None)


def run(engine: ModuleEngine, *inputs: Values) -> list[Mapping[str, object]]:
    """Run tasks in one batch; give their outputs in order."""
    for task_id, values in enumerate(inputs):
        engine.admit(Work(task_id, values))
    events = sorted(engine.step(), key=lambda event: event.task_id)
    assert all(isinstance(event, Result) for event in events)
    return [event.outputs for event in events if isinstance(event, Result)]


def test_stacks_tasks_and_gives_each_its_row(classes: str) -> None:
    """Each task brings one item without the batch dimension and gets one back."""
    engine = open_class(classes, arguments={"start": 2.0}, outputs=["scaled", "sum"])

    first, second = run(engine, {"x": [1, 2]}, {"x": np.array([3.0, 4.0])})

    np.testing.assert_array_equal(first["scaled"], [2, 4])
    np.testing.assert_array_equal(second["scaled"], [6, 8])
    assert second["sum"] == 7


def test_runs_ragged_shapes_in_groups(classes: str) -> None:
    """Tasks of another shape share the step, not the batch."""
    outputs = run(open_class(classes), {"x": [1.0]}, {"x": [1.0, 2.0]}, {"x": [3.0]})

    assert [np.size(each["output"]) for each in outputs] == [1, 2, 1]


@pytest.fixture(scope="module")
def artefacts(
    make_artefacts: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Give the folder that keeps the code of a module with full weights."""
    return make_artefacts(tmp_path_factory.mktemp("artefacts"))


def test_compiled_gives_what_eager_gives(classes: str, artefacts: Path) -> None:
    """Compiled code, warm before it serves, agrees with eager code at every batch size."""
    inputs = {"x": {"shape": [3], "dtype": "float32"}}
    compiled = open_class(
        classes,
        compile="inductor",
        inputs=inputs,
        arguments={"start": 3.0},
        artefacts=str(artefacts),
    )
    tasks = [{"x": [1.0 * n, 2.0, 3.0]} for n in range(5)]
    try:
        for count in (1, 2, 5):
            for row, outputs in enumerate(run(compiled, *tasks[:count])):
                np.testing.assert_allclose(outputs["output"], [3.0 * row, 6.0, 9.0])
    finally:
        compiled.close()


def test_runs_on_openvino(classes: str, tmp_path: Path) -> None:
    """A module runs there as it does elsewhere, whatever sizes come, by tasks of one step."""
    pytest.importorskip("openvino")
    base = {"class": f"{classes}:Scale", "functions": [classes], "artefacts": str(tmp_path)}
    device = Device.parse("openvino:CPU")
    engine = open_module({**base, "arguments": {"start": 3.0}}, device, lambda *_: None)

    assert engine.device == "openvino:CPU"
    for count in (1, 5):
        outputs = run(engine, *({"x": [1.0 * n, 2.0, 3.0]} for n in range(count)))
        for row, each in enumerate(outputs):
            np.testing.assert_allclose(each["output"], [3.0 * row, 6.0, 9.0])
    engine.close()


@pytest.mark.usefixtures("fakes_path")
def test_runs_wherever_it_is_fastest(classes: str, artefacts: Path) -> None:
    """`auto` measures a batch of zeros on each device; one whose writes OpenVINO drops stays."""
    pytest.importorskip("openvino")
    base = {
        "functions": [classes],
        "inputs": {"x": {"shape": [3], "dtype": "float32"}},
        "artefacts": str(artefacts),
    }
    for name, arguments in (("Scale", {"start": 3.0}), ("Running", {})):
        config = {**base, "class": f"{classes}:{name}", "arguments": arguments}
        engine = open_module(config, Device("auto"), lambda *_: None)
        assert "cpu " in engine.notes[0]
        assert ("not on openvino:CPU" in engine.notes[0]) == (name == "Running")
        assert "output" in run(engine, {"x": [1.0, 2.0, 3.0]})[0]
        engine.close()


def test_tells_what_compressed_weights_lose(classes: str, tmp_path: Path) -> None:
    """Random inputs are compared where shapes are known; elsewhere it says that they are not."""
    pytest.importorskip("nncf")
    config = {
        "class": f"{classes}:Scale",
        "functions": [classes],
        "weights": "int8",
        "artefacts": str(tmp_path),
    }
    inputs = {"x": {"shape": [3], "dtype": "float32"}}
    device = Device.parse("openvino")

    known = open_module({**config, "inputs": inputs}, device, lambda *_: None)
    unknown = open_module(config, device, lambda *_: None)

    assert known.notes[0].startswith("int8 weights: outputs differ from those of full weights by")
    assert unknown.notes == (
        "int8 weights: loss not measured, since the shapes of `inputs` are not in the model file",
    )
    known.close()
    unknown.close()


def test_loses_more_with_fewer_bits(classes: str, tmp_path: Path) -> None:
    """The note gives the loss of the weights that were asked for."""
    pytest.importorskip("nncf")
    losses = []
    for weights in ("int8", "int4"):
        config = {
            "class": f"{classes}:Layers",
            "functions": [classes],
            "weights": weights,
            "artefacts": str(tmp_path),
            "inputs": {"x": {"shape": [128], "dtype": "float32"}},
        }
        engine = open_module(config, Device.parse("openvino"), lambda *_: None)
        losses.append(float(engine.notes[0].split(" by ")[1].split()[0]))
        assert "output" in run(engine, {"x": [1.0] * 128})[0]
        engine.close()

    assert 0 < losses[0] < losses[1] < 0.5


def test_does_not_start_on_openvino_with_in_place_writes(classes: str, tmp_path: Path) -> None:
    """OpenVINO would drop them without a word, so the module is refused."""
    pytest.importorskip("openvino")
    config = {
        "class": f"{classes}:Running",
        "functions": [classes],
        "inputs": {"x": {"shape": [3], "dtype": "float32"}},
        "artefacts": str(tmp_path),
    }

    with pytest.raises(ModelLoadError, match=r"writes to 'module\.total' in place"):
        open_module(config, Device.parse("openvino:CPU"), lambda *_: None)


def test_loads_safetensors(classes: str, tmp_path: Path) -> None:
    """Weights come from a file, and all of them must fit."""
    file = tmp_path / "scale.safetensors"
    save_file({"factor": torch.tensor(5.0)}, file)

    (outputs,) = run(open_class(classes, source=str(file)), {"x": [1.0]})

    assert outputs["output"] == 5
    save_file({"other": torch.tensor(5.0)}, file)
    with pytest.raises(ModelLoadError, match="do not fit"):
        open_class(classes, source=str(file))


@pytest.mark.parametrize("content", [b"", b"garbage" * 9, b"\xff" * 64])
def test_refuses_broken_weights(classes: str, tmp_path: Path, content: bytes) -> None:
    """A file that is no safetensors stops the model from loading."""
    file = tmp_path / "broken.safetensors"
    file.write_bytes(content)

    with pytest.raises(ModelLoadError, match=r"broken\.safetensors"):
        open_class(classes, source=str(file))


def test_serves_an_exported_program(tmp_path: Path) -> None:
    """Names, shapes and dtypes come from the program itself."""
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(Scale(2.0), (torch.ones(2, 3),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "scale.pt2")
    config = {"source": str(tmp_path / "scale.pt2"), "compile": "eager"}
    engine = open_module(config, Device("cpu"), lambda *_: None)

    first, second = run(engine, {"x": [1, 1, 1]}, {"x": [2, 2, 2]})

    assert (first["output_1"], second["output_1"]) == (3, 6)
    with pytest.raises(InvalidInput, match=r"\[2\], not \[3\]"):
        engine.admit(Work(9, {"x": [1, 2]}))


def test_fills_the_batch_of_a_program_that_takes_only_one_size(tmp_path: Path) -> None:
    """A program that was exported with a fixed batch still serves any number of tasks."""
    program = torch.export.export(Scale(2.0), (torch.ones(2, 3),))
    torch.export.save(program, tmp_path / "scale.pt2")
    config = {"source": str(tmp_path / "scale.pt2"), "compile": "eager"}
    engine = open_module(config, Device("cpu"), lambda *_: None)

    outputs = run(engine, *({"x": [n, n, n]} for n in range(3)))

    assert [int(each["output_1"]) for each in outputs] == [0, 3, 6]


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Say what is to be run."""
        return os.mkdir, ("bombed",)


def test_refuses_a_program_that_holds_pickles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sample inputs that are more than tensors are never unpickled."""
    monkeypatch.chdir(tmp_path)
    program = torch.export.export(Scale(), (torch.ones(2, 3),))
    program._example_inputs = ((torch.ones(2, 3), Bomb()), {})
    torch.export.save(program, tmp_path / "bomb.pt2")

    with pytest.raises(ModelLoadError, match="refused"):
        load_program(tmp_path / "bomb.pt2")

    assert not (tmp_path / "bombed").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half of a zip"])
def test_refuses_a_broken_program(tmp_path: Path, content: bytes) -> None:
    """A file that is no archive stops the model from loading."""
    (tmp_path / "broken.pt2").write_bytes(content)

    with pytest.raises(ModelLoadError, match=r"broken\.pt2"):
        load_program(tmp_path / "broken.pt2")


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "was given"),
        ({"x": [1.0], "y": 1}, "was given"),
        ({"x": "text"}, "no array of numbers"),
        ({"x": [[1.0], [1.0, 2.0]]}, "no array of numbers"),
        ({"x": None}, "no array of numbers"),
        ({"x": {"a": 1}}, "no array of numbers"),
    ],
)
def test_refuses_inputs_that_do_not_fit(classes: str, inputs: Values, words: str) -> None:
    """Wrong names and values are refused before any work, by name."""
    with pytest.raises(InvalidInput, match=words):
        open_class(classes).admit(Work(1, inputs))


def test_holds_the_module_to_the_batch_contract(classes: str) -> None:
    """An output without the batch dimension fails, and the message says the remedy."""
    engine = open_class(classes, "Total")
    engine.admit(Work(1, {"x": [1.0]}))

    with pytest.raises(BatchContractError, match="batch_dim: null"):
        engine.step()

    (outputs,) = run(open_class(classes, "Total", batch_dim=None), {"x": [[1.0, 2.0]]})
    assert outputs["output"] == 3


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"class": "os:getcwd", "functions": []}, "no allowed module"),
        ({}, "needs `class"),
        ({"inputs": {"x": {"shape": [1], "dtype": "float33"}}}, "float33"),
    ],
)
def test_refuses_a_model_file_that_cannot_work(config: dict[str, object], words: str) -> None:
    """What is wrong is named before anything is loaded."""
    with pytest.raises(InvalidModel, match=words):
        open_module(config, Device("cpu"), lambda *_: None)


def test_refuses_an_input_that_forward_does_not_have(classes: str) -> None:
    """Declared inputs must be arguments of forward."""
    with pytest.raises(InvalidModel, match="no argument 'z'"):
        open_class(classes, inputs={"z": {"shape": [1], "dtype": "float32"}})
