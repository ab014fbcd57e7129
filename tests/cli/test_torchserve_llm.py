"""Archives for vLLM and TensorRT-LLM, behind `torchloom torchserve`, as their users ask them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest
from openai import OpenAI

from torchloom_models.archive.archiver import ModelArchiverConfig, write_model_archive


sys.path.insert(0, str(Path(__file__).parents[1] / "models" / "llm"))

from adapter_files import save_adapter


pytestmark = pytest.mark.slow

Configure = Callable[..., list[int]]
Start = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]

LLAMA = Path(__file__).parents[2] / "examples" / "tiny_models" / "tiny_llama"

QUESTION = "How much does a mooring cost?"

MESSAGES = [{"role": "user", "content": QUESTION}]

#: As the examples of TorchServe have it, but on the CPU, and without compiling.
FRONT = """\
minWorkers: 1
maxWorkers: 1
deviceType: cpu
asyncCommunication: true
startupTimeout: 600
"""

CHAT = f"""{FRONT}
handler:
  model_path: model
  vllm_engine_config:
    enable_lora: true
    max_loras: 2
    max_num_seqs: 4
    max_model_len: 512
    enforce_eager: true
    dtype: float
    gpu_memory_utilization: 0.9
    served_model_name: [tiny-chat, org/tiny]
  adapters:
    polite: adapters/polite
    org/terse: adapters/terse
"""

HUB = f"""{FRONT}
handler:
  model_path: harbour/tiny-llama
  vllm_engine_config: {{max_num_seqs: 2, enforce_eager: true}}
"""

TICKET = f"""{FRONT}
useJobTicket: true
handler:
  model_path: {LLAMA}
  chat_template: templates/loud.jinja
  vllm_engine_config: {{max_num_seqs: 1, enforce_eager: true}}
"""

OWN = """\
def handle(data, context):
    return None if data is None else ["its own " + context.get_request_header(0, "url_path")]
"""

SUBCLASS = """\
from ts.torch_handler.vllm_handler import VLLMHandler


class Mine(VLLMHandler):
    pass
"""

#: Counts the tasks of the archive with job tickets whose clients have left.
CANCELLED = 'torchloom_tasks_total{model="ticket",state="cancelled"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that is up, and its folder."""

    folder: Path
    inference: httpx.Client
    management: httpx.Client
    metrics: httpx.Client

    def client(self, model: str, version: str = "1.0/") -> OpenAI:
        """Give the official client, at a model's own address."""
        url = f"{self.inference.base_url}/predictions/{model}/{version}v1"
        return OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120)

    def pid(self, model: str) -> int:
        """Give the process of a model's worker."""
        pid: int = self.management.get(f"/models/{model}").json()[0]["workers"][0]["pid"]
        return pid

    def log(self) -> str:
        """Give what the server has logged."""
        return (self.folder / "logs" / "ts_log.log").read_text()

    def count(self, series: str) -> float:
        """Give the value of a series."""
        lines = self.metrics.get("/metrics").text.splitlines()
        found = [line.rpartition(" ")[2] for line in lines if line.startswith(series)]
        return float(found[0]) if found else 0.0

    def wait(self, series: str, value: float) -> None:
        """Wait until a series has a value."""
        for _ in range(3000):
            if self.count(series) == value:
                return
            time.sleep(0.01)
        raise AssertionError(f"{series} is {self.count(series)}")


def archive(folder: Path, name: str, config: str, **options: object) -> None:
    """Make an archive, as `torchloom archive` does."""
    (folder / "model-config.yaml").write_text(config)
    given = {"handler": "vllm_handler", "config_file": str(folder / "model-config.yaml"), **options}
    write_model_archive(
        ModelArchiverConfig(name, version="1.0", export_path=str(folder / "models"), **given)  # type: ignore[arg-type]
    )


def make_cache(home: Path) -> None:
    """Put the model where the hub's cache has it."""
    repository = home / "hub" / "models--harbour--tiny-llama"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.copytree(LLAMA, repository / "snapshots" / commit)


def make_archives(folder: Path) -> None:
    """Make all archives."""
    (folder / "models").mkdir()
    extra = folder / "extra"
    shutil.copytree(LLAMA, extra / "model")
    save_adapter(extra / "adapters" / "polite", LLAMA, seed=1)
    save_adapter(extra / "adapters" / "terse", LLAMA, seed=2)
    archive(folder, "chat", CHAT, extra_files=str(extra))
    archive(folder, "far", HUB, archive_format="tgz")
    template = folder / "loud" / "templates" / "loud.jinja"
    template.parent.mkdir(parents=True)
    template.write_text("{% for m in messages %}{{ m.content | upper }}{% endfor %}")
    loud = str(folder / "loud")
    archive(folder, "ticket", TICKET, extra_files=loud, archive_format="no-archive")
    (folder / "vllm_handler.py").write_text(OWN)
    archive(folder, "own", "minWorkers: 1\n", extra_files=str(folder / "vllm_handler.py"))
    (folder / "mine.py").write_text(SUBCLASS)
    archive(folder, "mine", CHAT, handler=str(folder / "mine.py"))
    archive(folder, "lost", CHAT.replace("model_path: model", "model_path: deep/down/model"))
    archive(folder, "mute", FRONT)


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, configure: Configure, start: Start
) -> Iterator[Running]:
    """Start a server with all sorts of archives."""
    folder = tmp_path_factory.mktemp("torchserve_llm")
    make_archives(folder)
    make_cache(folder / "home")
    ports = configure(
        folder,
        *("metrics_mode=prometheus", "disable_token_authorization=true"),
        "max_request_size=100000",
    )
    names = ("chat.mar", "far.tar.gz", "ticket", "own.mar")
    words = f"--ncs --model-store models --models {' '.join(names)} --enable-model-api"
    environment = {"HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"}
    with start(folder, words, environment):
        urls = [f"http://127.0.0.1:{port}" for port in ports[:3]]
        with (
            httpx.Client(base_url=urls[0], timeout=120) as inference,
            httpx.Client(base_url=urls[1], timeout=120) as management,
            httpx.Client(base_url=urls[2], timeout=120) as metrics,
        ):
            yield Running(
                folder=folder, inference=inference, management=management, metrics=metrics
            )


@pytest.fixture
def chat(running: Running) -> Iterator[OpenAI]:
    """Give a client of the archive that holds its own weights."""
    with running.client("chat") as client:
        yield client


def native(running: Running, label: str) -> str:
    """Ask the same model by TorchLoom's own route."""
    with OpenAI(base_url=f"{running.inference.base_url}/v1", api_key="none") as client:
        answer = client.chat.completions.create(
            model=label, messages=MESSAGES, max_tokens=12, temperature=0
        )
    return answer.choices[0].message.content or ""


@pytest.mark.parametrize("version", ["1.0/", ""])
def test_lists_its_names_and_adapters(running: Running, version: str) -> None:
    """With the version and without it; adapters belong to the first name."""
    with running.client("chat", version) as client:
        listed = {model.id: model.model_dump().get("parent") for model in client.models.list()}

    assert listed == {
        "tiny-chat": None,
        "org/tiny": None,
        "polite": "tiny-chat",
        "org/terse": "tiny-chat",
    }


@pytest.mark.parametrize("name", ["tiny-chat", "org/tiny", "chat"])
def test_chats_by_any_of_its_names(running: Running, chat: OpenAI, name: str) -> None:
    """The answer is that of the native route, and says the name that was asked for."""
    answer = chat.chat.completions.create(
        model=name, messages=MESSAGES, max_tokens=12, temperature=0
    )

    assert answer.model == name
    assert answer.choices[0].message.content == native(running, "chat") != ""
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


def test_streams_what_it_writes(running: Running, chat: OpenAI) -> None:
    """Pieces make the whole answer; the last chunk of all is the end."""
    stream = chat.chat.completions.create(
        model="tiny-chat",
        messages=MESSAGES,
        max_tokens=12,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    assert text == native(running, "chat")
    assert len(chunks) > 6
    assert chunks[-1].usage is not None


def test_sends_each_event_in_a_chunk_of_its_own(running: Running) -> None:
    """As TorchServe does, with its header; clients read chunk by chunk, and wait for the last."""
    body = {"model": "tiny-chat", "prompt": QUESTION, "max_tokens": 3, "stream": True}
    body |= {"stream_options": {"include_usage": True}, "ignore_eos": True}
    path = "/predictions/chat/v1/completions"
    with running.inference.stream("POST", path, json=body) as answer:
        chunks = list(answer.iter_raw())

    assert answer.headers["ts_stream_next"] == "true"
    assert answer.headers["transfer-encoding"] == "chunked"
    assert all(each.count(b"data: ") == 1 and each.endswith(b"\n\n") for each in chunks)
    assert chunks[-1] == b"data: [DONE]\n\n"


def test_completes_texts(chat: OpenAI) -> None:
    """Several prompts, several choices, and the prompt with the answer."""
    answer = chat.completions.create(
        model="tiny-chat", prompt=["The harbour", "A berth"], n=2, max_tokens=4, echo=True
    )

    starts = [choice.text.split()[0] for choice in answer.choices]
    assert starts == ["The", "The", "A", "A"]


def test_writes_with_an_adapter(running: Running, chat: OpenAI) -> None:
    """Each is asked for by its own name, whatever that is, and is the native one of its model."""
    texts = {
        name: chat.chat.completions.create(
            model=name, messages=MESSAGES, max_tokens=12, temperature=0
        )
        .choices[0]
        .message.content
        for name in ("tiny-chat", "polite", "org/terse")
    }

    assert len(set(texts.values())) == 3
    assert texts["polite"] == native(running, "chat:polite")
    assert texts["org/terse"] == native(running, "chat:org-terse")


def test_refuses_a_name_that_is_not_its_own(chat: OpenAI) -> None:
    """With the nearest name; other models of the server are none of this address."""
    with pytest.raises(openai.NotFoundError) as raised:
        chat.completions.create(model="tiny-chatt", prompt="A")

    assert raised.value.code == "model_not_found"
    assert "Did you mean 'tiny-chat'?" in raised.value.message
    with pytest.raises(openai.NotFoundError):
        chat.completions.create(model="far", prompt="A")


@pytest.mark.parametrize("path", ["chat", "chat/1.0", "chat/1.0/v1", "chat/1.0/v1/embeddings"])
def test_has_no_other_path(running: Running, path: str) -> None:
    """TorchServe's words and shape, with the status that its handler gives."""
    answer = running.inference.post(f"/predictions/{path}", json={"model": "tiny-chat"})

    assert answer.status_code == 404
    assert answer.json() == {
        "code": 404,
        "type": "InternalServerException",
        "message": f"Unknown API endpoint: {'/'.join(path.split('/')[2:])}",
    }


@pytest.mark.parametrize("path", ["/v1/models/chat:predict", "/v2/models/chat/infer"])
def test_has_no_path_of_other_protocols(running: Running, path: str) -> None:
    """There, TorchServe's handler sees no path at all."""
    answer = running.inference.post(path, json={"instances": []})

    assert (answer.status_code, answer.json()["message"]) == (404, "Unknown API endpoint: None")


@pytest.mark.parametrize(
    ("content", "headers", "status", "says"),
    [
        (b'{"model": "tiny-chat", ', {}, 400, "no JSON"),
        (b"", {}, 400, "empty"),
        (b"[]", {}, 400, "must be an object"),
        (b'{"model": "tiny-chat"}', {}, 400, "'prompt' is missing"),
        (b'{"prompt": "A"}', {}, 400, "'model' is missing"),
        (b'{"model": "tiny-chat", "prompt": "A", "max_tokens": -1}', {}, 400, "max_tokens"),
        (b'{"model": "tiny-chat", "prompt": "A", "temperature": "hot"}', {}, 400, "temperature"),
        (b'{"model": "tiny-chat", "prompt": 7}', {}, 400, "prompt"),
        (b'{"model": "tiny-chat", "prompt": "A"}', {"content-type": "text/csv"}, 415, "text/csv"),
    ],
)
def test_refuses_a_body_that_cannot_be(
    running: Running, content: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    """In OpenAI's shape, and with a status: TorchServe gives 200, or 503 without a word."""
    answer = running.inference.post(
        "/predictions/chat/1.0/v1/completions",
        content=content,
        headers={"content-type": "application/json", **headers},
    )

    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]
    assert answer.headers["connection"] == "close"


def test_refuses_a_prompt_that_is_too_long(chat: OpenAI) -> None:
    """With OpenAI's own code, streamed or not."""
    for is_streamed in (False, True):
        with pytest.raises(openai.BadRequestError) as raised:
            chat.completions.create(model="tiny-chat", prompt="harbour " * 2000, stream=is_streamed)
        assert raised.value.code == "context_length_exceeded"


def test_refuses_a_body_that_is_too_large(chat: OpenAI) -> None:
    """413 from the server, before any route."""
    with pytest.raises(openai.APIStatusError) as raised:
        chat.completions.create(model="tiny-chat", prompt="A" * 200_000)

    assert raised.value.status_code == 413


def test_writes_as_much_as_there_is_room_for(chat: OpenAI) -> None:
    """More tokens than the context has are cut, and the answer says so."""
    answer = chat.completions.create(
        model="tiny-chat", prompt="A", max_tokens=1_000_000, extra_body={"ignore_eos": True}
    )

    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 512


def test_cancels_what_nobody_waits_for(running: Running) -> None:
    """A client that leaves ends its answers in the engine: the model is free for the next one."""
    before = running.count(CANCELLED)
    with running.client("ticket", "") as client:
        stream = client.completions.create(
            model=str(LLAMA),
            prompt="A",
            n=4,
            max_tokens=900,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        next(iter(stream))
        stream.close()

    running.wait(CANCELLED, before + 4)


def test_serves_a_model_of_the_hub(running: Running) -> None:
    """An archive that names one has no other files; requests say the hub's name."""
    with running.client("far") as client:
        answer = client.chat.completions.create(
            model="harbour/tiny-llama", messages=MESSAGES, max_tokens=12, temperature=0
        )

    assert answer.choices[0].message.content == native(running, "far") != ""


def test_gives_out_job_tickets(running: Running) -> None:
    """While its one sequence writes, nobody else's request is taken."""
    path = "/predictions/ticket/1.0/v1/completions"
    body = {"model": str(LLAMA), "prompt": "A", "max_tokens": 900, "ignore_eos": True}
    before = running.count(CANCELLED)
    with running.inference.stream("POST", path, json={**body, "stream": True}) as first:
        chunks = first.iter_raw()
        next(chunks)
        second = running.inference.post(path, json=body)
    running.wait(CANCELLED, before + 1)

    assert first.status_code == 200
    assert second.status_code == 503
    assert second.json()["type"] == "ServiceUnavailableException"
    assert "no worker to serve inference request" in second.json()["message"]


def test_tells_a_stream_that_its_worker_died(running: Running) -> None:
    """As its last event, and without the end; the next worker answers the next request."""
    path = "/predictions/ticket/1.0/v1/completions"
    body = {"model": str(LLAMA), "prompt": "A", "max_tokens": 900, "ignore_eos": True}
    with running.inference.stream("POST", path, json={**body, "stream": True}) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        os.kill(running.pid("ticket"), signal.SIGKILL)
        last = list(chunks)[-1]

    assert "error" in json.loads(last.removeprefix(b"data: "))
    short = {**body, "max_tokens": 1}
    for _ in range(600):
        again = running.inference.post(path, json=short)
        if again.status_code == 200:
            return
        time.sleep(0.1)
    raise AssertionError(again.text)


def test_takes_the_archives_chat_template(running: Running) -> None:
    """A file of the archive; the messages are told in its way."""
    with running.client("ticket") as client:
        told = client.chat.completions.create(
            model=str(LLAMA), messages=MESSAGES, max_tokens=1, temperature=0
        )
        plain = client.completions.create(
            model=str(LLAMA), prompt=QUESTION.upper(), max_tokens=1, temperature=0
        )

    assert told.usage is not None
    assert plain.usage is not None
    assert told.usage.prompt_tokens == plain.usage.prompt_tokens
    assert told.choices[0].message.content == plain.choices[0].text


def test_lets_an_archives_own_file_go_first(running: Running) -> None:
    """`vllm_handler.py` in an archive is a handler like any other."""
    answer = running.inference.post("/predictions/own/1.0/v1/models")

    assert answer.text == "its own v1/models"


def test_is_a_model_like_any_other(running: Running) -> None:
    """It shows in the lists and descriptors of both APIs, and its predictions are counted."""
    names = [each["modelName"] for each in running.management.get("/models").json()["models"]]
    described = running.management.get("/models/chat?customized=true").json()[0]
    kinds = {
        each["name"]: each["kind"] for each in running.inference.get("/api/models").json()["items"]
    }
    counted = 'ts_inference_requests_total{model_name="far",model_version="1.0"'
    before = running.count(counted)
    with running.client("far") as client:
        client.completions.create(model="harbour/tiny-llama", prompt="A", max_tokens=1)

    assert set(names) >= {"chat", "far", "ticket", "own"}
    assert described["modelUrl"] == "chat.mar"
    assert described["workers"][0]["status"] == "READY"
    assert described["startupTimeout"] == 600
    assert described["customizedMetadata"] == {}
    assert (kinds["chat"], kinds["own"]) == ("llm", "handler")
    assert running.count(counted) == before + 1


def test_says_what_counts_for_nothing(running: Running) -> None:
    """Each key that TorchLoom's engine has no use for is named in the log, once."""
    log = running.log()

    assert log.count("chat 1.0: `vllm_engine_config.gpu_memory_utilization: 0.9` counts for") == 1


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("mine.mar", "needs the package 'vllm'"),
        ("lost.mar", "`handler.model_path: deep/down/model` of"),
        ("mute.mar", "does not say which model it is"),
    ],
)
def test_names_what_an_archive_lacks(running: Running, file: str, says: str) -> None:
    """400, and how to mend it; nothing is left behind."""
    answer = running.management.post(f"/models?url={file}&initial_workers=1")

    assert (answer.status_code, answer.json()["type"]) == (400, "InvalidModelException")
    assert says in answer.json()["message"]
    assert running.management.get(f"/models/{file.removesuffix('.mar')}").status_code == 404


def test_comes_and_goes_by_the_management_api(running: Running) -> None:
    """Without workers it says so; scaled it answers; removed it leaves no unpacked files."""
    (running.folder / "models" / "late.mar").write_bytes(
        (running.folder / "models" / "chat.mar").read_bytes()
    )
    config = CHAT.replace("minWorkers: 1\nmaxWorkers: 1\n", "")
    extra = str(running.folder / "extra")
    archive(running.folder, "late", config, extra_files=extra, force=True)
    running.management.post("/models?url=late.mar").raise_for_status()
    body = {"model": "tiny-chat", "prompt": "A", "max_tokens": 2}
    idle = running.inference.post("/predictions/late/v1/completions", json=body)
    scaled = running.management.put("/models/late?min_worker=1&synchronous=true")
    awake = running.inference.post("/predictions/late/v1/completions", json=body)
    folders = list((running.folder / ".torchloom" / "archives").glob("late-*/model"))
    gone = running.management.delete("/models/late")

    assert idle.status_code == 503
    assert "no worker to serve" in idle.json()["message"]
    assert (scaled.status_code, awake.status_code, gone.status_code) == (200, 200, 200)
    assert len(folders) == 1
    assert not folders[0].exists()


def test_can_be_a_node_of_a_workflow(running: Running) -> None:
    """TorchLoom's own workflows call it by its name, as any model."""
    workflow = {
        "name": "asking",
        "inputs": {"question": {"type": "string"}},
        "nodes": {
            "answer": {
                "model": "chat",
                "inputs": {"messages": [{"role": "user", "content": "{{ inputs.question }}"}]},
                "params": {"max_tokens": 12, "temperature": 0},
            }
        },
        "outputs": {"text": "{{ answer.text }}"},
    }
    running.management.post("/api/workflows", json=workflow).raise_for_status()
    run = running.inference.post("/api/workflows/asking/runs", json={"question": QUESTION})

    assert run.json()["outputs"]["text"] == native(running, "chat")
