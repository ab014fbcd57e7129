"""Sets of files, checked together without a server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from torchloom.errors import InvalidWorkflow
from torchloom_api.cli import main
from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.cli.shelf import Shelf
from torchloom_api.machine import DeviceView


Write = Callable[..., list[Path]]

MODEL = "name: minilm\nkind: embedder\nsource: somewhere\n"
INNER = """\
name: inner
inputs: {text: {type: string}}
nodes:
  embed: {model: minilm, inputs: {text: "{{ inputs.text }}"}}
outputs: {vector: "{{ embed.embedding }}"}
"""
OUTER = """\
name: outer
inputs: {text: {type: string}}
nodes:
  call: {workflow: inner, inputs: {text: "{{ inputs.text }}"}}
outputs: {vector: "{{ call.vector }}"}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Give a function that writes files, named 0.yaml, 1.yaml and so on."""

    def write(*texts: str) -> list[Path]:
        files = [tmp_path / f"{number}.yaml" for number in range(len(texts))]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        return files

    return write


def test_lets_files_refer_to_each_other_in_any_order(write: Write) -> None:
    """A workflow may call another one, and a model, of files that come later."""
    shelf = Shelf.read(write(OUTER, INNER, MODEL))
    assert shelf.faults == []
    assert sorted(graph.name for graph in shelf.workflows.values()) == ["inner", "outer"]


def test_reports_every_fault_of_every_file(write: Write) -> None:
    """A bad model and two mistakes in a workflow are told in one go, each with its place."""
    bad_model = MODEL.replace("embedder", "embeder")
    bad_workflow = INNER.replace("inputs.text", "inputs.txet").replace("embed.emb", "embde.emb")
    shelf = Shelf.read(write(bad_model, bad_workflow, MODEL))
    places = [(Path(str(f.file)).name, f.line) for f in shelf.faults]
    assert places == [("0.yaml", 2), ("1.yaml", 4), ("1.yaml", 5)]
    assert "'embedder'" in shelf.faults[0].message
    with pytest.raises(InvalidWorkflow, match="3 faults"):
        shelf.require_sound()


def test_survives_a_file_that_is_no_yaml(write: Write) -> None:
    """Broken syntax is a fault like any other, and the other files are still checked."""
    shelf = Shelf.read(write("name: [", MODEL))
    assert len(shelf.faults) == 1
    assert [model.name for model in shelf.models] == ["minilm"]


def test_takes_the_highest_version_unless_told(write: Write) -> None:
    """Several versions of a model may stand side by side."""
    shelf = Shelf.read(write(MODEL, MODEL + "version: 3\n"))
    newest, first = shelf.model("minilm"), shelf.model("minilm", 1)
    assert newest is not None
    assert first is not None
    assert (newest.version, first.version) == (3, 1)
    assert shelf.model("minilm", 2) is None


def test_check_prints_faults_and_ends_with_3(write: Write) -> None:
    """The command's lines can be clicked in an editor: file:line:column: message."""
    files = write(INNER.replace("minilm", "minlm"), MODEL)
    result = CliRunner().invoke(main, ["check", *map(str, files)])
    assert result.exit_code == ExitCode.INVALID_FILE
    assert result.stdout.startswith(f"{files[0]}:4:")
    assert "Did you mean 'minilm'?" in result.stdout


def test_check_says_what_it_found(write: Write) -> None:
    """Sound files end with 0, and their workflows and models are named."""
    result = CliRunner().invoke(main, ["check", *map(str, write(INNER, MODEL))])
    assert result.exit_code == ExitCode.OK
    assert result.stdout == "ok: workflow inner@1, model minilm@1\n"


def test_check_warns_of_devices_that_this_machine_lacks(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file may be served elsewhere: the device is named with its place, and all is sound."""

    async def find() -> list[DeviceView]:
        return [DeviceView(device=name, name="") for name in ("cpu", "openvino:CPU")]

    monkeypatch.setattr("torchloom_api.machine.find_devices", find)
    (file,) = write(MODEL + "devices: [openvino, cpu, cuda:3]\n")
    result = CliRunner().invoke(main, ["check", str(file)])
    assert result.exit_code == ExitCode.OK
    warning, found = result.stdout.splitlines()
    assert warning.startswith(f"{file}:4:26: warning: there is no device 'cuda:3' on this machine")
    assert "which has cpu, openvino:CPU" in warning
    assert found == "ok: model minilm@1"
    (told,) = json.loads(CliRunner().invoke(main, ["check", "--json", str(file)]).stdout)
    assert (told["severity"], told["line"], told["pointer"]) == ("warning", 4, "/devices/2")


def test_check_looks_for_no_device_where_none_is_named(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files for `auto` and the CPU are checked as fast as ever."""
    monkeypatch.setattr("torchloom_api.machine.find_devices", None)
    files = write(MODEL, MODEL.replace("minilm", "other") + "devices: [cpu]\n")
    result = CliRunner().invoke(main, ["check", *map(str, files)])
    assert result.stdout == "ok: model minilm@1, model other@1\n"


def test_check_refuses_a_device_that_its_kind_does_not_run_on(write: Write) -> None:
    """As it does a node's hint at a device that the model is not on: a server would, too."""
    function = "name: f\nkind: function\nfunction: a:b\ndevices: [cuda:0]\n"
    hint = INNER.replace("model: minilm,", "model: minilm, device: 'cuda:0',")
    files = write(function, hint, MODEL + "devices: [cpu]\n")
    result = CliRunner().invoke(main, ["check", "--json", *map(str, files)])
    assert result.exit_code == ExitCode.INVALID_FILE
    faults = json.loads(result.stdout)
    assert [(fault["line"], fault["severity"]) for fault in faults] == [(4, "error"), (4, "error")]
    assert "run on the CPU, not on 'cuda:0'" in faults[0]["message"]
    assert "cuda:0" in faults[1]["message"]


def test_check_imports_no_torch(write: Write) -> None:
    """Files can be checked where torch is not installed."""
    code = (
        "import sys; from torchloom_api.cli import main; "
        "sys.modules['torch'] = sys.modules['transformers'] = None; main()"
    )
    command = [sys.executable, "-c", code, "check", *map(str, write(INNER, MODEL))]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
