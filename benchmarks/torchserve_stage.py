"""Stage: one server of TorchServe's kind on which faults are played, and what is seen of them.

What is told of a fault is a line that noise does not flip: statuses, numbers of starts, orders, and
whether something was in time. Knows no fault.
"""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, cast

import httpx

from benchmarks.torchserve_archives import SOURCES, write_mar, write_mar_of, write_war
from benchmarks.torchserve_calls import Call, make_call
from benchmarks.torchserve_side import Side


#: How long a state is waited for that is sure to come, and an answer.
_PATIENCE_S: Final = 60.0

#: How long is waited for an answer that may never come.
_HOPE_S: Final = 4.0

_LOOK_S: Final = 0.05

#: What an answer is called that is none: the connection was closed, or nobody waited longer.
NOTHING: Final = "no answer"


class Stage:
    """What a scene works with: archives that fail as they are told, requests, and states."""

    def __init__(self, side: Side, store: Path, certificate: str = "") -> None:
        self.side = side
        self.store = store
        #: What the server is to show where it speaks TLS, in PEM.
        self.certificate = certificate
        unproven = ssl.create_default_context()
        unproven.check_hostname, unproven.verify_mode = False, ssl.CERT_NONE
        self._client = httpx.Client(timeout=_PATIENCE_S, verify=unproven)
        self._threads = ThreadPoolExecutor(max_workers=32)

    def close(self) -> None:
        """Send nothing more."""
        self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # Archives

    def write(self, name: str, load: str = "", config: Mapping[str, object] | None = None) -> None:
        """Write an archive NAME.mar; `load` is what it does when it is loaded."""
        write_faulty(self.store, name, load, config)

    def write_sums(self, name: str, config: Mapping[str, object]) -> None:
        """Write an archive that adds up the numbers of each sequence."""
        write_mar(self.store, "sums", name=name, config=config)

    def write_workflow(self, name: str) -> None:
        """Write one of the workflows of `benchmarks/archives`."""
        write_war(self.store, name)

    def folder(self, name: str) -> Path:
        """Give the folder that a model's handler looks into."""
        return folder_of(self.store, name)

    def set_load(self, name: str, deed: str) -> None:
        """Say what a model does at its next loads."""
        set_load(self.store, name, deed)

    def release(self, name: str, what: str) -> None:
        """Let go what holds until a file is there."""
        (self.folder(name) / what).touch()

    def notes(self, name: str, kind: str) -> list[str]:
        """Give what a model's handler has noted: `loads` or `batches`."""
        path = self.folder(name) / kind
        return path.read_text("utf-8").splitlines() if path.exists() else []

    # Requests

    def register(self, name: str, words: str = "initial_workers=1") -> str:
        """Register NAME.mar; give status and what is said."""
        return self.manage("POST", f"/models?url={name}.mar&{words}")

    def remove(self, name: str) -> str:
        """Unregister a model; give status and what is said."""
        return self.manage("DELETE", f"/models/{name}")

    def manage(self, method: str, path: str, **headers: str) -> str:
        """Ask the management port; give status and what is said."""
        return self._ask(method, f"{self.side.urls['management']}{path}", "", headers)

    def ask(self, name: str, body: str = "hi", **headers: str) -> str:
        """Ask a model; give status and what is said. Names of headers have _ for -."""
        return self.ask_path(f"/predictions/{name}", body, **headers)

    def ask_path(self, path: str, body: str = "hi", **headers: str) -> str:
        """Ask the inference port."""
        return self._ask("POST", f"{self.side.url}{path}", body, headers)

    def ask_later(self, name: str, body: str = "hi", **headers: str) -> Future[str]:
        """Ask a model, and go on."""
        return self._threads.submit(self.ask, name, body, **headers)

    def manage_later(self, method: str, path: str) -> Future[str]:
        """Ask the management port, and go on."""
        return self._threads.submit(self.manage, method, path)

    def call(self, name: str, body: str = "hi") -> str:
        """Ask a model over gRPC; give the code and what is said."""
        message = {"model_name": name, "input": {"body": body.encode()}}
        call = Call(service="InferenceAPIsService", method="Predictions", messages=[message])
        told = make_call(self.side, call)
        return f"{told.code} {told.text[:70]!r}"

    def call_later(self, name: str, body: str = "hi") -> Future[str]:
        """Ask a model over gRPC, and go on."""
        return self._threads.submit(self.call, name, body)

    def result(self, asked: Future[str]) -> str:
        """Give the answer to what was asked before, if it comes."""
        return asked.result() if self.wait(asked.done, _HOPE_S) else NOTHING

    def ping(self) -> str:
        """Ask whether it is healthy."""
        return self._ask("GET", f"{self.side.url}/ping")

    def key(self, kind: str) -> str:
        """Give a key of key_file.json, as the header of a request has it."""
        keys = json.loads((self.side.folder / "key_file.json").read_text("utf-8"))
        return f"Bearer {keys[kind]['key']}"

    def _ask(
        self, method: str, url: str, body: str = "", headers: Mapping[str, str] | None = None
    ) -> str:
        try:
            answer = self._client.request(method, url, content=body.encode(), headers=headers)
        except httpx.HTTPError:
            return NOTHING
        return f"{answer.status_code} {_said(answer.text)}"

    # States

    def describe(self, name: str) -> Mapping[str, Any]:
        """Give a model's description; empty where there is none."""
        answer = self._client.get(f"{self.side.urls['management']}/models/{name}")
        return cast("Mapping[str, Any]", answer.json()[0]) if answer.status_code == 200 else {}

    def workers(self, name: str) -> str:
        """Tell the states of a model's workers."""
        about = self.describe(name)
        states = [each["status"] for each in about.get("workers", ())]
        return (" ".join(states) or "no workers") if about else "not there"

    def queue(self, name: str) -> str:
        """Tell how many requests wait for a model, and how many more may."""
        queue = self.describe(name)["jobQueueStatus"]
        return f"{queue['pendingRequests']} wait, {queue['remainingCapacity']} may"

    def wait_for_queue(self, name: str, count: int) -> bool:
        """Wait until so many requests wait for a model."""
        return self.wait(lambda: self.describe(name)["jobQueueStatus"]["pendingRequests"] >= count)

    def wait(self, has_come: Callable[[], bool], patience_s: float = _PATIENCE_S) -> bool:
        """Wait for a state; tell whether it came."""
        end = time.monotonic() + patience_s
        while not has_come():
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK_S)
        return True

    def wait_for_loads(self, name: str, count: int, patience_s: float = _PATIENCE_S) -> bool:
        """Wait until a model was loaded so often, whatever came of it; tell whether it was."""
        return self.wait(lambda: len(self.notes(name, "loads")) >= count, patience_s)

    def wait_for_batches(self, name: str, count: int) -> bool:
        """Wait until so many batches were begun."""
        return self.wait(lambda: len(self.notes(name, "batches")) >= count)

    def wait_until_up(self, name: str, patience_s: float = _PATIENCE_S) -> bool:
        """Wait until a model has workers, and all of them are ready."""
        return self.wait(lambda: set(self.workers(name).split()) == {"READY"}, patience_s)

    def kill_worker(self, name: str) -> None:
        """Kill a model's first worker."""
        os.kill(self.side.find_worker(name).pid, signal.SIGKILL)


def write_faulty(
    store: Path, name: str, load: str = "", config: Mapping[str, object] | None = None
) -> None:
    """Write an archive NAME.mar into a store; `load` is what it does when it is loaded."""
    folder = folder_of(store, name)
    folder.mkdir(exist_ok=True)
    set_load(store, name, load)
    code = (SOURCES / "faulty.py").read_text("utf-8").replace('"FOLDER"', repr(str(folder)))
    write_mar_of(store, name, {"handler.py": code}, config=config)


def folder_of(store: Path, name: str) -> Path:
    """Give the folder that the handler of such an archive looks into."""
    return store.with_name(f"{store.name}-{name}")


def set_load(store: Path, name: str, deed: str) -> None:
    """Say what such an archive does at its next loads."""
    part = folder_of(store, name) / "load.part"
    part.write_text(deed, "utf-8")
    part.rename(folder_of(store, name) / "load")


def _said(text: str) -> str:
    """Give what an answer says: its message or its status, and else its first words."""
    try:
        document = json.loads(text)
    except ValueError:
        return text[:60].strip()
    if isinstance(document, dict):
        text = str(document.get("message") or document.get("status") or text)
    return re.sub(r"\s+", " ", text).strip()[:70]
