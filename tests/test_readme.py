"""The shell lines of the READMEs, run as a reader would run them, against a real server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
READMES = ("README.md", "examples/rag/README.md", "examples/multi_image/README.md")


def _commands(readme: str) -> list[str]:
    """Give the lines of the README's bash blocks, continued lines joined."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / readme).read_text(), flags=re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("make ")]


def _here(command: str, url: str) -> str:
    """Put this environment and the test's server in the place of the README's own."""
    command = command.replace(".venv/bin/", f"{BIN}/").replace("http://127.0.0.1:8080", url)
    if "torchloom run" in command:
        return f"{command} --server {url}"
    return f"{command} --url {url}" if "client.py" in command else command


def _run(command: str) -> str:
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _check_answer(command: str, printed: str) -> None:
    """Require of an answer what the README says about it."""
    if "text/event-stream" in command:
        assert "event: node.chunk" in printed
        assert "event: run.finished" in printed
    elif file := re.search(r" -o (\S+\.png)", command):
        assert (ROOT / file[1]).read_bytes().startswith(b"\x89PNG")
    elif command.startswith("curl"):
        answer = json.loads(printed)
        wanted = {"rag": ("answer", "sources"), "multi_image": ("prompts", "images")}
        assert all(answer["outputs"][name] for name in wanted[answer["workflow"]])
        assert answer["timings"]["critical_path"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the READMEs call curl")
@pytest.mark.parametrize("readme", READMES)
def test_runs_as_written(readme: str, serve: Callable[[str], str]) -> None:
    """Every command of a README works in the order in which it stands."""
    commands = _commands(readme)
    (place,) = (number for number, line in enumerate(commands) if "torchloom serve" in line)
    for command in commands[:place]:
        assert _run(_here(command, ""))
    url = serve(commands[place])
    for command in commands[place + 1 :]:
        _check_answer(command, _run(_here(command, url)))


@pytest.mark.parametrize(
    "page", [*READMES, "CONTRIBUTING.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
)
def test_links_to_what_is_there(page: str) -> None:
    """Every relative link of the documentation leads to a file or folder."""
    file = ROOT / page
    links = re.findall(r"\]\(([^)#\s]+)", file.read_text())
    inner = [link for link in links if "://" not in link]
    assert not [link for link in inner if not (file.parent / link).resolve().exists()]


def test_shows_the_example_as_it_is() -> None:
    """The workflow in the README's tour is the one that is served."""
    shown = re.search(r"```yaml\n(nodes:.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    served = (ROOT / "examples/rag/rag.yaml").read_text()
    assert shown is not None
    lines = {line for line in shown[1].splitlines() if line.strip()}
    assert lines <= set(served.splitlines())
