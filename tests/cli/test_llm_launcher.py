"""`torchloom llm-launcher`: one line, an archive, a server, of which nothing is left at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from openai import OpenAI


Configure = Callable[..., list[int]]

LLAMA = Path(__file__).parents[2] / "examples" / "tiny_models" / "tiny_llama"

PROGRAM = (sys.executable, "-m", "torchloom_api.cli", "llm-launcher")

READY = "Model server started.\n"

#: Puts a server in place of ours: it says what it was told, and waits.
STAND_IN = """\
import json, signal, sys, types, importlib.util
module = types.ModuleType("torchloom_api.torchserve.server")
module.__spec__ = importlib.util.spec_from_loader(module.__name__, None)
def run(settings, on_ready):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    is_open = settings.config.disable_token_authorization
    models = [[model.name, model.location] for model in settings.models]
    print(json.dumps([models, settings.has_snapshots, is_open]), flush=True)
    on_ready()
    signal.sigwait({signal.SIGTERM})
module.run = run
sys.modules[module.__name__] = module
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """A launcher that serves. `told`: what its server said before it was ready."""

    process: subprocess.Popen[str]
    told: list[str]

    def end(self) -> None:
        """End it as a container does."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a working folder, with a stand-in for the server."""
    (tmp_path / "temp").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(STAND_IN)
    return tmp_path


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Give the variables of a process that shares its pid file with no other."""
    path = f"{folder / 'site'}:{os.environ.get('PYTHONPATH', '')}"
    return {**os.environ, "TEMP": str(folder / "temp"), "PYTHONPATH": path, **more}


@contextmanager
def launched(
    folder: Path, *words: str, program: tuple[str, ...] = PROGRAM, **more: str
) -> Iterator[Launched]:
    """Launch, and wait for the one line that scripts wait for; it is killed at the end."""
    with (folder / "stderr").open("w") as log:
        process = subprocess.Popen(
            [*program, *words],
            cwd=folder,
            env=environment(folder, **more),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            if line == READY:
                break
            told.append(line)
        else:
            raise AssertionError((folder / "stderr").read_text())
        yield Launched(process=process, told=told)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def call(folder: Path, *words: str) -> tuple[int, str]:
    """Call it to its end; give its exit code and all that it printed."""
    done = subprocess.run(
        [*PROGRAM, *words],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_writes_an_archive_and_serves_it(folder: Path) -> None:
    """As TorchServe's own does without any option, but for the number of GPUs; then it goes."""
    with launched(folder) as running:
        archive = folder / "model_store" / "model"
        config = yaml.safe_load((archive / "model-config.yaml").read_text())
        manifest = json.loads((archive / "MAR-INF" / "MANIFEST.json").read_text())
        running.end()

    assert json.loads(running.told[-1]) == [[[None, "model"]], False, False]
    assert manifest["model"]["handler"] == "vllm_handler"
    assert config == {
        "minWorkers": 1,
        "maxWorkers": 1,
        "batchSize": 1,
        "maxBatchDelay": 100,
        "responseTimeout": 1200,
        "startupTimeout": 1200,
        "deviceType": "gpu",
        "asyncCommunication": True,
        "handler": {
            "model_path": "meta-llama/Meta-Llama-3.1-8B-Instruct",
            "vllm_engine_config": {
                "max_num_seqs": 256,
                "served_model_name": "meta-llama/Meta-Llama-3.1-8B-Instruct",
            },
        },
    }
    assert list((folder / "model_store").iterdir()) == []


def test_takes_all_options(folder: Path) -> None:
    """Folders become absolute: the server's own folder is another."""
    (folder / "weights").mkdir()
    words = (
        *("--model_name", "tiny", "--model_store", "store", "--model_id", "weights"),
        *("--disable_token_auth", "--dtype", "float16", "--startup_timeout", "60"),
        *("--vllm_engine.max_num_seqs", "8", "--vllm_engine.max_model_len", "128"),
        *("--vllm_engine.download_dir", "cache"),
    )
    with launched(folder, *words) as running:
        config = yaml.safe_load((folder / "store" / "tiny" / "model-config.yaml").read_text())
        running.end()

    assert json.loads(running.told[-1]) == [[[None, "tiny"]], False, True]
    assert config["startupTimeout"] == 60
    assert config["handler"] == {
        "model_path": str(folder / "weights"),
        "vllm_engine_config": {
            "max_num_seqs": 8,
            "max_model_len": 128,
            "download_dir": str(folder / "cache"),
            "dtype": "float16",
            "served_model_name": "weights",
        },
    }


def test_replaces_what_it_left_behind(folder: Path) -> None:
    """A launcher that was killed could not remove its archive."""
    with launched(folder, "--model_id", "org/one"):
        pass
    assert (folder / "model_store" / "model").exists()
    (folder / "temp" / ".model_server.pid").unlink()
    with launched(folder, "--model_id", "org/two") as running:
        text = (folder / "model_store" / "model" / "model-config.yaml").read_text()
        running.end()

    assert "org/two" in text


@pytest.mark.parametrize("name", ["weights.bin", "model-config.yaml"])
def test_leaves_what_is_not_its_own(folder: Path, name: str) -> None:
    """A folder of that name stays, and the command ends with the reason."""
    (folder / "model_store" / "model").mkdir(parents=True)
    (folder / "model_store" / "model" / name).write_text("mine")
    code, told = call(folder)

    assert code == 1
    assert "model_store/model is there already" in told
    assert "--model_name" in told
    assert (folder / "model_store" / "model" / name).read_text() == "mine"


def test_keeps_what_came_into_its_folder(folder: Path) -> None:
    """Files that somebody has put there meanwhile are not removed with it."""
    with launched(folder) as running:
        (folder / "model_store" / "model" / "note.txt").write_text("mine")
        running.end()

    assert [each.name for each in (folder / "model_store" / "model").iterdir()] == ["note.txt"]


def test_leaves_a_running_server_alone(folder: Path) -> None:
    """As `torchserve --start` does; the archive of the one that runs stays."""
    with launched(folder) as running:
        code, told = call(folder, "--model_id", "org/other")
        text = (folder / "model_store" / "model" / "model-config.yaml").read_text()
        running.end()

    assert code == 1
    assert "TorchServe is already running" in told
    assert "org/other" not in text


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--model_name", "../up"), 1, "special characters"),
        (("--model_name", "a b"), 1, "special characters"),
        (("--engine", "llama.cpp"), 2, "invalid choice"),
        (("--vllm_engine.max_num_seqs", "many"), 2, "invalid int value"),
    ],
)
def test_refuses_words_that_cannot_be(
    folder: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    """Nothing is started, and nothing written."""
    given, told = call(folder, *words)

    assert given == code
    assert says in told
    assert not [each for each in folder.glob("*/*") if "config" in each.name and each.is_dir()]
    assert not (folder / "model_store" / words[1]).exists()


def test_has_its_old_name(folder: Path) -> None:
    """`torchloom alias install` lets `python -m ts.llm_launcher` lead here."""
    alias = (sys.executable, "-m", "torchloom_api.cli", "alias", "install")
    options = (f"--scripts={folder / 'bin'}", f"--packages={folder / 'site'}")
    subprocess.run([*alias, *options], cwd=folder, check=True)
    program = (sys.executable, "-m", "ts.llm_launcher")
    with launched(folder, "--model_name", "old", program=program) as running:
        running.end()

    assert json.loads(running.told[-1])[0] == [[None, "old"]]


@pytest.mark.slow
def test_serves_a_model(folder: Path, configure: Configure) -> None:
    """On whichever device is the fastest, for OpenAI's client, until it is ended."""
    (folder / "site" / "sitecustomize.py").unlink()
    ports = configure(folder)
    words = (
        *("--model_id", str(LLAMA), "--disable_token_auth", "--dtype", "float32"),
        *("--vllm_engine.max_num_seqs", "2", "--vllm_engine.max_model_len", "64"),
    )
    more = {"TS_CONFIG_FILE": str(folder / "config.properties")}
    url = f"http://127.0.0.1:{ports[0]}/predictions/model/1.0/v1"
    with (
        launched(folder, *words, **more) as running,
        OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120) as client,
    ):
        answer = client.chat.completions.create(
            model=str(LLAMA),
            messages=[{"role": "user", "content": "How much does a mooring cost?"}],
            max_tokens=4,
        )
        running.end()

    assert answer.choices[0].message.content
    assert not (folder / "model_store" / "model").exists()
