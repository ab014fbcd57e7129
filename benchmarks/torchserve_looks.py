"""What TorchServe and TorchLoom leave in files: forms of log lines, and snapshots, to be compared.

Numbers, times and ids are the same in all forms. Knows no request.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import Final

from benchmarks.torchserve_side import Side


_WAIT_S: Final = 20.0

#: What differs from line to line, and what is put in its place.
_ALIKE: Final = (
    (re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3}"), "TIME"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"127\.0\.0\.1:\d+"), "CLIENT"),
    (re.compile(r'("[^"]*") (\d+) \d+$'), r"\1 \2 MS"),
    (re.compile(r":-?\d+(\.\d+)?(E-?\d+)?(?=\|#)"), ":NUMBER"),
    (re.compile(r"timestamp:\d+"), "timestamp:SECONDS"),
    (re.compile(r"W-\d+-"), "W-N-"),
    (re.compile(r"\d{17}-(startup|snapshot|shutdown)\.cfg"), r"STAMP-\1.cfg"),
    (re.compile(r"http\\://127\.0\.0\.1\\:\d+"), "HERE"),
    (re.compile(r"^(grpc_\w+_port)=\d+"), r"\1=PORT"),
)


_MODELS: Final = "model_snapshot="


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The lines of a file that fit a pattern, of which there is to be one that has `last`.

    Each form counts once, in whatever order.
    """

    file: str
    pattern: str = ""
    last: str = ""

    @property
    def name(self) -> str:
        """Tell the look in one line."""
        return f"lines of {self.file}" + (f" with {self.pattern}" if self.pattern else "")


def look(side: Side, about: Look) -> str:
    """Give the forms of a file's lines, sorted; empty where there is no such file."""
    end = time.monotonic() + _WAIT_S
    text = _read(side, about.file)
    while about.last and about.last not in text and time.monotonic() < end:
        time.sleep(0.1)
        text = _read(side, about.file)
    kept = [line for line in text.splitlines() if re.search(about.pattern, line)]
    return "\n".join(sorted({_form(line) for line in kept}))


def _read(side: Side, file: str) -> str:
    """Read a file of the logs' folder; of a pattern, the newest."""
    found = sorted((side.folder / "logs").glob(file), key=lambda path: path.name)
    return found[-1].read_text("latin-1") if found else ""


def _form(line: str) -> str:
    """Make a line alike; of a snapshot's models the order does not count."""
    if line.startswith(_MODELS):
        text = line.removeprefix(_MODELS).replace("\\n", "\n").replace("\\", "")
        line = _MODELS + json.dumps({**json.loads(text), "created": 0}, sort_keys=True)
    for pattern, instead in _ALIKE:
        line = pattern.sub(instead, line)
    return line


#: After all requests: what there is one line of for each of them, or for each worker.
LOGS: Final = (
    Look(file="access_log.log", last="GET /last HTTP/1.1"),
    Look(file="ts_metrics.log", pattern="Requests|WorkerLoadTime|QueueTime|ts_"),
    Look(file="model_metrics.log"),
    Look(file="model_log.log", pattern=r"MODEL_LOG - (said|logged|warned)", last="warned"),
)

#: Keys of a snapshot that name what is each server's own.
_OWN: Final = r"^(?!#|python=|version=|tsConfigFile=|number_of_gpu=)"

#: What snapshots hold.
SNAPSHOTS: Final = (
    Look(file="config/*-startup.cfg", pattern=_OWN),
    Look(file="config/*-snapshot.cfg", pattern=_OWN),
)
