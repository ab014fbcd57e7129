"""TorchServe's names, on and off, beside whoever else may have them."""

from __future__ import annotations

import os
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


def run_python(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the old names on its paths; it must end well."""
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": f"{tmp_path / 'site'}:{os.environ.get('PYTHONPATH', '')}",
        "TEMP": str(tmp_path),
    }
    return subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )


def test_lets_scripts_and_tests_import_ts(tmp_path: Path) -> None:
    """Outside of workers too `ts` is the one package under both of its names, programs included."""
    _alias(tmp_path, "install")
    code = (
        "import ts.handler_utils.timer, ts.metrics, ts.llm_launcher\n"
        "from torchloom_models.archive.ts.torch_handler import base_handler\n"
        "from ts.model_server import start\n"
        "from ts.torch_handler.base_handler import BaseHandler\n"
        "from ts.torch_handler.unit_tests.test_utils.mock_context import MockContext\n"
        "assert BaseHandler is base_handler.BaseHandler\n"
        "assert ts.handler_utils.timer.timed\n"
        "print(ts.__version__, ts.metrics.dimension.Dimension('Level', 'Host'))\n"
    )
    assert run_python(tmp_path, "-c", code).stdout == "0.12.0 Level:Host\n"


def test_packs_by_the_function_that_scripts_call(tmp_path: Path) -> None:
    """With a configuration, or with the words of the script itself."""
    _alias(tmp_path, "install")
    (tmp_path / "h.py").write_text("")
    code = (
        "import model_archiver, sys\n"
        "from model_archiver.model_packaging import generate_model_archive\n"
        "from model_archiver.version import __version__\n"
        "assert model_archiver.__version__ == __version__ == '0.12.0'\n"
        "generate_model_archive(model_archiver.ModelArchiverConfig('one', 'h.py', '1'))\n"
        "sys.argv[1:] = ['--model-name', 'two', '--version', '1', '--handler', 'h.py']\n"
        "generate_model_archive()\n"
    )
    run_python(tmp_path, "-c", code)
    assert {file.name for file in tmp_path.glob("*.mar")} == {"one.mar", "two.mar"}


def test_runs_the_modules_of_ts_that_are_programs(tmp_path: Path) -> None:
    """The server's own, and the script that measures the host."""
    _alias(tmp_path, "install")
    version = run_python(tmp_path, "-m", "ts.model_server", "--version").stdout
    assert version.startswith("TorchServe Version is ")
    printed = run_python(tmp_path, "-m", "ts.metrics.metric_collector", "--gpu", "0").stdout
    names = [line.partition(".")[0] for line in printed.splitlines() if line]
    assert names == [
        "CPUUtilization",
        *("DiskAvailable", "DiskUsage", "DiskUtilization"),
        *("MemoryAvailable", "MemoryUsed", "MemoryUtilization"),
    ]
    assert "|#Level:Host|#hostname:" in printed


def test_starts_a_server_for_scripts(tmp_path: Path) -> None:
    """`ts.launcher` prints what the command does, and gives lines to its caller until the end."""
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin" / "torchserve"
    stand_in.write_text(
        '#!/bin/sh\necho "$@"\n'
        'case "$*" in --start*) echo Model server started.; echo one; echo two;; esac\n'
    )
    stand_in.chmod(0o755)
    _alias(tmp_path, "install")
    code = (
        "from ts.launcher import start, stop\n"
        "lines = start('store', 'c.properties', True, disable_token=True, models='a=a.mar')\n"
        "found = list(iter(lines.get, None))\n"
        "stop(wait=False)\n"
        "print(found)\n"
    )
    printed = run_python(tmp_path, "-c", code).stdout.splitlines()
    words = "--model-store store --ts-config c.properties --no-config-snapshots"
    assert sorted(printed) == sorted(
        [
            *("--stop --foreground", "--stop", "Model server started.", "one", "two"),
            f"--start {words} --disable-token-auth --models a=a.mar",
            "['one\\n', 'two\\n']",
        ]
    )


def test_keeps_the_first_lines_of_a_server_that_nobody_reads(tmp_path: Path) -> None:
    """The end is told in any case, and the command that started the server is no zombie."""
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin" / "torchserve"
    stand_in.write_text(
        '#!/bin/sh\ncase "$*" in --start*) echo Model server started.; seq 1500;; esac\n'
    )
    stand_in.chmod(0o755)
    _alias(tmp_path, "install")
    code = (
        "import psutil, sys, threading\n"
        "from ts.launcher import start\n"
        "lines = start('store')\n"
        "for each in threading.enumerate():\n"
        "    if each is not threading.current_thread(): each.join(20)\n"
        "found = list(iter(lines.get, None))\n"
        "found = (len(found), found[0], found[-1], len(psutil.Process().children()))\n"
        "print(found, file=sys.stderr)\n"
    )
    assert (
        run_python(tmp_path, "-W", "error", "-c", code).stderr == "(1000, '1\\n', '1000\\n', 0)\n"
    )


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
