"""`torchloom compile` and `torchloom artefacts`: code is made once, and carried."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from torchloom_api.cli import main
from torchloom_api.cli.exit_code import ExitCode
from torchloom_models.artefact import ABOUT


pytestmark = pytest.mark.slow

MODEL = """\
name: net
kind: module
devices: [cpu]
compile: {compile}
source: net.pt2
"""

PIPELINE = """\
name: pipeline
models:
  shout: {{kind: function, function: "my_functions:shout"}}
  net: {{kind: module, source: net.pt2, compile: eager, devices: [cpu]}}
  gone: {{kind: module, source: {source}, devices: [cpu]}}
inputs: {{x: {{type: array}}}}
nodes:
  out: {{model: net, inputs: {{x: "{{{{ inputs.x }}}}"}}}}
outputs: {{y: "{{{{ out.output }}}}"}}
"""


class Compiled(NamedTuple):
    """What one compilation left: the model file, the pack, and what was printed."""

    file: Path
    pack: Path
    models: list[dict[str, object]]


def run(*words: object) -> Result:
    """Run a command line."""
    return CliRunner().invoke(main, [str(word) for word in words])


def save_program(folder: Path) -> None:
    """Save a small exported program."""
    import torch  # noqa: PLC0415 - costs seconds

    torch.manual_seed(0)
    rows = torch.export.Dim("rows", max=64)
    net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU()).eval()
    program = torch.export.export(net, (torch.ones(2, 4),), dynamic_shapes=({0: rows},))
    torch.export.save(program, folder / "net.pt2")


@pytest.fixture(scope="module")
def compiled(
    make_artefacts: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Compiled:
    """Compile a model into a store of its own, and pack the code."""
    folder = tmp_path_factory.mktemp("here")
    save_program(folder)
    make_artefacts(folder / "store" / "artefacts")
    file, pack = folder / "net.yaml", folder / "net.tlpack"
    file.write_text(MODEL.format(compile="inductor"))
    done = run("compile", file, "--store", folder / "store", "--output", pack, "--json")
    assert done.exit_code == ExitCode.OK, done.output
    printed, _, place = done.stdout.strip().rpartition("\n")
    assert place == str(pack)
    return Compiled(file, pack, json.loads(printed))


def test_says_what_was_compiled_and_where_it_lies(compiled: Compiled) -> None:
    """Part, time, size and folder, for each model and device."""
    (model,) = compiled.models
    (part,) = model["parts"]  # type: ignore[misc]

    assert (model["model"], model["device"], model["state"]) == ("net@1", "cpu", "compiled")
    assert (part["part"], part["route"], part["is_new"]) == ("forward", "ahead of time", True)
    assert part["seconds"] > 0
    assert part["bytes"] == sum(path.stat().st_size for path in Path(part["folder"]).iterdir())


def test_serves_elsewhere_without_compiling(compiled: Compiled, tmp_path: Path) -> None:
    """Another folder, another store and another process: the code is there, and is not made again.

    The model's own files are copied, as one copies them to another machine.
    """
    file = shutil.copy(compiled.file, tmp_path / "model.yaml")
    shutil.copy(compiled.file.with_name("net.pt2"), tmp_path / "net.pt2")
    store = tmp_path / "other"

    unpacked = run("artefacts", "unpack", compiled.pack, "--store", store)
    done = run("compile", file, "--store", store, "--json")
    listed = json.loads(run("artefacts", "list", "--store", store, "--json").stdout)

    assert unpacked.exit_code == done.exit_code == ExitCode.OK
    assert "1 artefacts are new, 0 were there" in unpacked.stderr
    (model,) = json.loads(done.stdout)
    assert model["state"] == "kept"
    assert [part["is_new"] for part in model["parts"]] == [False]
    assert [(each["model"], each["device"], each["differences"]) for each in listed] == [
        ("net", "cpu", [])
    ]
    assert not (store / "artefacts" / "inductor").exists()


def test_packs_and_prunes_what_a_store_keeps(compiled: Compiled, tmp_path: Path) -> None:
    """What does not fit this machine is listed as such, is not packed, and goes."""
    store = tmp_path / "store"
    run("artefacts", "unpack", compiled.pack, "--store", store)
    packed = run("artefacts", "pack", tmp_path / "all.tlpack", "--store", store)
    assert packed.stdout.strip() == str(tmp_path / "all.tlpack")
    assert "Packed 1 artefacts" in packed.stderr

    (about,) = (store / "artefacts").glob(f"*/{ABOUT}")
    about.write_text(about.read_text().replace('"torch": "', '"torch": "0.'))
    listed = run("artefacts", "list", "--store", store)
    nothing = run("artefacts", "pack", tmp_path / "none.tlpack", "--store", store)
    pruned = run("artefacts", "prune", "--store", store)

    assert "torch 0." in listed.stdout
    assert nothing.exit_code == ExitCode.FAILED
    assert "nothing to pack" in nothing.stderr
    assert f"{about.parent.name}: torch 0." in pruned.stderr
    assert "Removed 1 artefacts" in pruned.stderr
    assert not about.parent.exists()


def test_prunes_what_was_not_used(compiled: Compiled, tmp_path: Path) -> None:
    """Without a word on days, nothing that fits is removed."""
    store = tmp_path / "store"
    run("artefacts", "unpack", compiled.pack, "--store", store)

    kept = run("artefacts", "prune", "--store", store)
    gone = run("artefacts", "prune", "--store", store, "--unused-days", 0)

    assert "Removed 0 artefacts" in kept.stderr
    assert "last used" in gone.stderr
    assert "Removed 1 artefacts" in gone.stderr


def test_says_what_compiles_nothing_and_what_fails(compiled: Compiled, tmp_path: Path) -> None:
    """A model that does not load holds up no other, and ends the command with 1; so no pack."""
    shutil.copy(compiled.file.with_name("net.pt2"), tmp_path / "net.pt2")
    (tmp_path / "broken.pt2").write_text("no program")
    file = tmp_path / "pipeline.yaml"
    file.write_text(PIPELINE.format(source="broken.pt2"))

    done = run("compile", file, "--store", tmp_path / "store", "--output", tmp_path / "p.tlpack")

    assert done.exit_code == ExitCode.FAILED
    assert "nothing: models of kind 'function' run no compiled code" in done.stdout
    assert "nothing: its file says `compile: eager`" in done.stdout
    assert "One model does not compile" in done.stderr
    assert "gone@1 on cpu:" in done.stderr
    assert "ready" not in done.stderr
    assert not (tmp_path / "p.tlpack").exists()


def test_refuses_files_that_do_not_pass_the_checks(tmp_path: Path) -> None:
    """Faults are printed as `check` prints them, before anything is opened."""
    file = tmp_path / "net.yaml"
    file.write_text(MODEL.format(compile="fast"))

    done = run("compile", file, "--store", tmp_path / "store")

    assert done.exit_code == ExitCode.INVALID_FILE
    assert "net.yaml:4:" in done.stderr
    assert not (tmp_path / "store").exists()


def test_refuses_a_pack_that_is_none(tmp_path: Path) -> None:
    """The reason is told, and the store is not even made."""
    (tmp_path / "bad.tlpack").write_text("no zip")

    done = run("artefacts", "unpack", tmp_path / "bad.tlpack", "--store", tmp_path / "store")

    assert done.exit_code == ExitCode.FAILED
    assert "is refused: it is cut short or damaged" in " ".join(done.stderr.split())
    assert not (tmp_path / "store").exists()


def test_says_which_threads_the_code_is_for(
    compiled: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code for another number of threads is not found by a worker that has as many as cores.

    One that has as many as the server was told finds it.
    """
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    store = tmp_path / "store"
    run("artefacts", "unpack", compiled.pack, "--store", store)
    (about,) = (store / "artefacts").glob(f"*/{ABOUT}")
    values = json.loads(about.read_text())
    about.write_text(json.dumps({**values, "threads": 7777}))
    again = run("artefacts", "pack", tmp_path / "all.tlpack", "--store", store)
    assert again.exit_code == ExitCode.OK

    done = run("artefacts", "unpack", tmp_path / "all.tlpack", "--store", tmp_path / "other")

    assert "`threads: 7777`" in " ".join(done.stderr.split())

    monkeypatch.setenv("OMP_NUM_THREADS", "7777")
    done = run("artefacts", "unpack", tmp_path / "all.tlpack", "--store", tmp_path / "another")

    assert done.exit_code == ExitCode.OK
    assert "`threads:" not in done.stderr
