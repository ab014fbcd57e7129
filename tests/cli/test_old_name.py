"""TorchServe's names, on and off, beside whoever else may have them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from torchloom_api.cli import main
from torchloom_api.cli.old_name import old_names


NAMES = ("torchserve", "torch-model-archiver", "torch-workflow-archiver")


def _alias(tmp_path: Path, verb: str) -> Result:
    words = ["alias", verb, f"--scripts={tmp_path / 'bin'}", f"--packages={tmp_path / 'site'}"]
    return CliRunner().invoke(main, words)


def test_makes_the_old_commands_work(tmp_path: Path) -> None:
    """torch-model-archiver writes an archive, and calls itself by that name."""
    assert _alias(tmp_path, "install").exit_code == 0
    (tmp_path / "h.py").write_text("")
    script = str(tmp_path / "bin" / "torch-model-archiver")
    words = [script, "--model-name", "m", "--version", "1", "--handler", "h.py"]
    subprocess.run(words, cwd=tmp_path, check=True)
    assert (tmp_path / "m.mar").exists()
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: torch-model-archiver")


def test_makes_the_old_import_work(tmp_path: Path) -> None:
    """Scripts that import model_archiver go on."""
    _alias(tmp_path, "install")
    (tmp_path / "h.py").write_text("")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "from model_archiver import ModelArchiver, ModelArchiverConfig\n"
        "from model_archiver.model_archiver_config import ModelArchiverConfig as Same\n"
        "from model_archiver.model_archiver_error import ModelArchiverError\n"
        "assert Same is ModelArchiverConfig\n"
        "ModelArchiver.generate_model_archive(ModelArchiverConfig('m', 'h.py', '1'))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "m.mar").exists()


def test_lets_tests_of_handlers_import_what_those_do(tmp_path: Path) -> None:
    """`ts` is, outside of workers too, the one package under both of its names."""
    _alias(tmp_path, "install")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "from ts.torch_handler.base_handler import BaseHandler\n"
        "from ts.torch_handler.unit_tests.test_utils.mock_context import MockContext\n"
        "import ts.handler_utils.timer, ts\n"
        "from torchloom_models.archive.ts.torch_handler import base_handler\n"
        "assert BaseHandler is base_handler.BaseHandler\n"
        "assert ts.handler_utils.timer.timed\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_keeps_the_launcher_beside_them(tmp_path: Path) -> None:
    """`python -m` finds the one module that TorchLoom's `ts` has not."""
    _alias(tmp_path, "install")
    words = [sys.executable, "-m", "ts.llm_launcher", "--help"]
    done = subprocess.run(words, cwd=tmp_path / "site", capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "--model_id" in done.stdout


def test_goes_without_a_trace(tmp_path: Path) -> None:
    """What was installed is removed, bytecode included; nothing else is."""
    _alias(tmp_path, "install")
    (tmp_path / "bin" / "other").write_text("")
    (tmp_path / "site" / "model_archiver" / "__pycache__").mkdir()
    (tmp_path / "site" / "model_archiver" / "__pycache__" / "x.pyc").write_text("")
    assert _alias(tmp_path, "remove").exit_code == 0
    assert [file.name for file in (tmp_path / "bin").iterdir()] == ["other"]
    assert not any((tmp_path / "site").iterdir())
    assert _alias(tmp_path, "remove").exit_code == 0


def test_leaves_anothers_files_alone(tmp_path: Path) -> None:
    """A command that somebody else has written is neither replaced nor removed."""
    theirs = tmp_path / "bin" / "torchserve"
    theirs.parent.mkdir()
    theirs.write_text("#!/bin/sh\n")
    result = _alias(tmp_path, "install")
    assert result.exit_code == 1
    assert f"torchserve belongs to another program: {theirs}" in result.stderr
    assert (tmp_path / "bin" / "torch-model-archiver").exists()
    _alias(tmp_path, "remove")
    assert [file.name for file in theirs.parent.iterdir()] == ["torchserve"]
    assert theirs.read_text() == "#!/bin/sh\n"


def test_stays_away_from_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where TorchServe itself is installed its names are its own, wherever its files are."""
    monkeypatch.setattr("torchloom_api.cli.old_name.version", lambda _: "0.12.0")
    names = old_names(scripts=tmp_path, packages=tmp_path, python=sys.executable)
    reasons = [name.install() for name in names]
    assert "torchserve belongs to torchserve 0.12.0. Uninstall that first." in reasons
    assert not any(tmp_path.iterdir())


def test_keeps_files_that_others_put_into_the_package(tmp_path: Path) -> None:
    """A folder that holds more than our files stays."""
    _alias(tmp_path, "install")
    more = tmp_path / "site" / "model_archiver" / "more.py"
    more.write_text("")
    _alias(tmp_path, "remove")
    assert [file.name for file in more.parent.iterdir()] == ["more.py"]


def test_tells_where_each_name_leads(tmp_path: Path) -> None:
    """The list says whether a name is free, leads here, or belongs to another."""
    assert _alias(tmp_path, "list").stdout.count("free") == 5
    _alias(tmp_path, "install")
    listed = _alias(tmp_path, "list").stdout
    assert listed.count("here") == 5
    assert all(name in listed for name in NAMES)
