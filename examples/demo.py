"""The demo behind `make demo`: starts a server with the examples, calls them, and leaves it up.

Owns the order of things and the end of the server process; the calls are made by the examples' own
`client.py`, as any program would. Knows nothing of how TorchLoom works inside.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import httpx
from rich.console import Console

from examples.multi_image import client as multi_image
from examples.rag import client as rag


HERE = Path(__file__).parent
TORCHLOOM = [sys.executable, "-m", "torchloom_api.cli"]
RAG = HERE / "rag" / "rag.yaml"
MULTI_IMAGE = HERE / "multi_image" / "multi_image.yaml"
HANDBOOK = HERE / "rag" / "handbook"
INDEX = HERE / "rag" / ".torchloom" / "handbook"

IDEA = {"idea": "a night full of stars", "num_images": 4}

PROMPT = "a large yellow star in the centre on a navy background"

#: Where the pictures go, from the folder that the demo is run in.
PICTURES = Path("pictures")

#: The last one is not answered by the handbook: the pipeline should say so.
QUESTIONS = (
    "How much does a mooring cost?",
    "Who built the outer mole?",
    "How high is the lighthouse on Cape Dunnoch?",
    "When is the fuel pontoon closed?",
    "How many windows does the canteen have?",
)

#: Seconds that the server is given to end by itself.
GRACE_S = 20.0

console = Console(highlight=False)


def main() -> None:
    """Run the demo; with `--once`, end after the questions and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--once", action="store_true", help="end after the calls")
    parser.add_argument("--port", type=int, default=8080, help="the next free port is taken")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="where pictures are saved")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, _leave)
    build_index()
    with running_server(options.port) as (server, url):
        ask_all(url)
        draw(url, options.pictures)
        if not options.once:
            invite(url)
            wait_for_end(server)


def build_index() -> None:
    """Build the handbook's index, unless it is there and newer than the handbook."""
    newest = max(page.stat().st_mtime for page in HANDBOOK.glob("*.md"))
    if INDEX.exists() and INDEX.stat().st_mtime >= newest:
        return
    console.print("[bold]Building the index of the handbook[/]")
    command = [*TORCHLOOM, "index", "build", str(RAG)]
    if subprocess.run(command, check=False).returncode:
        sys.exit("The index could not be built; the reason stands above.")


@contextmanager
def running_server(port: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start the server on a free port, wait until it is ready, and end it on the way out."""
    free = next_free_port(port)
    if free != port:
        console.print(f"[yellow]Port {port} is taken; the server goes to {free}.[/]")
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        files = [str(RAG), str(MULTI_IMAGE)]
        command = [*TORCHLOOM, "serve", *files, f"--port={free}", f"--ready-file={ready}"]
        started = time.monotonic()
        # A process group of its own: Ctrl-C reaches this script alone, which then ends the server.
        server = subprocess.Popen(command, process_group=0)
        try:
            url = wait_until_ready(server, ready)
            console.print(f"[bold]Ready after {time.monotonic() - started:.1f} s[/]")
            yield server, url
        finally:
            end(server)


def next_free_port(port: int) -> int:
    """Give the first port from here on that nothing listens on."""
    for candidate in range(port, port + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return candidate
    return sys.exit(f"None of the ports {port} to {port + 99} is free.")


def wait_until_ready(server: subprocess.Popen[bytes], ready: Path) -> str:
    """Wait for the file that the server writes when it is ready; give the server's address."""
    while not ready.exists():
        if server.poll() is not None:
            sys.exit("The server ended before it was ready; the reason stands above.")
        time.sleep(0.1)
    return str(json.loads(ready.read_text())["url"])


def ask_all(url: str) -> None:
    """Ask each question, and print the answer as it comes, with its sources."""
    for question in QUESTIONS:
        console.print(f"\n[bold cyan]? {question}[/]")
        started = time.monotonic()
        rag.show(url, question)
        console.print(f"  [dim]{time.monotonic() - started:.2f} s[/]")


def draw(url: str, folder: Path) -> None:
    """Have prompts written about an idea and each of them drawn; name the files."""
    console.print(f"\n[bold cyan]> {IDEA['num_images']} pictures of {IDEA['idea']}[/]")
    multi_image.show(url, IDEA, folder)


def invite(url: str) -> None:
    """Print what to try next."""
    run = f"{url}/api/workflows/rag/runs"
    body = json.dumps({"question": QUESTIONS[0]})
    torchloom = os.path.relpath(Path(sys.executable).with_name("torchloom"))
    console.print(
        f"""
[bold]The server stays up until Ctrl-C.[/] Try, in another terminal:

  curl -s {run} -H 'Content-Type: application/json' -d '{body}'
  curl -sN {run} -H 'Content-Type: application/json' -H 'Accept: text/event-stream' -d '{body}'
  {torchloom} run rag --server {url} --input question='{QUESTIONS[1]}'
  curl -s {url}/api/models/stable_diffusion/predict -H 'Accept: image/png' -o pictures/star.png \\
    -H 'Content-Type: application/json' -d '{json.dumps({"inputs": {"prompt": PROMPT}})}'

  {url}/api/workflows/multi_image/graph.svg   a pipeline as a picture
  {url}/api/docs                              the API, with each workflow's own inputs
  {url}/metrics                               for Prometheus
""",
        markup=True,
        soft_wrap=True,
    )


def wait_for_end(server: subprocess.Popen[bytes]) -> None:
    """Wait for Ctrl-C, or for the server to end by itself, which is an error."""
    try:
        code = server.wait()
    except KeyboardInterrupt:
        return
    sys.exit(f"The server ended by itself, with exit code {code}.")


def end(server: subprocess.Popen[bytes]) -> None:
    """Ask the server to end, and make it end after the time of grace."""
    if server.poll() is not None:
        return
    server.terminate()
    try:
        server.wait(timeout=GRACE_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        server.kill()
        server.wait()


def _leave(number: int, _frame: FrameType | None) -> None:
    """Leave through the `finally` blocks, so that the server ends too."""
    sys.exit(128 + number)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except httpx.HTTPError as error:
        sys.exit(f"The server broke off: {error}")
