"""Asks TorchServe and TorchLoom the same, over HTTP and gRPC, and tells where their answers differ.

`python -m benchmarks.torchserve_differences --torchserve PATH/bin/torchserve [--output FILE.md]`.
Compares status, reason, headers and body, after what differs by nature (numbers of processes,
times, addresses, request ids) is made alike. Of OpenAPI documents the title, paths, operation ids
and parameters count: the words are TorchLoom's own. The exit code is 1 where something differs.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import torchserve_calls as calls
from benchmarks import torchserve_requests as requests
from benchmarks.torchserve_archives import batching, write_mar, write_mar_of, write_war
from benchmarks.torchserve_calls import Call, make_call
from benchmarks.torchserve_looks import LOGS, SNAPSHOTS, Look, look
from benchmarks.torchserve_requests import Request
from benchmarks.torchserve_side import TORCHLOOM, Side


#: What differs by nature, and what is put in its place. The first that fits a place counts.
_ALIKE = (
    (re.compile(r'"(startTime)": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"'), r'"\1": "TIME"'),
    (re.compile(r'"(pid|memoryUsage)": \d+'), r'"\1": 0'),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"Bearer [\w-]{8}"), "Bearer KEY"),
    (re.compile(r'"version": "[^"]*"'), '"version": "VERSION"'),
)

_LONGEST = 700

#: What can be asked of a server.
Question = Request | Call | Look

#: How long an answer is waited for: on a busy machine workers take minutes to load.
_TIMEOUT_S = 300

#: A handler that fails at the load.
_FAILING = """def handle(data, context):
    if data is None:
        raise ValueError("it does not load")
"""

_RAISING = """def handle(data, context):
    if data is not None:
        raise ValueError("no luck")
"""

_REFUSING = """from ts.utils.util import PredictionException


def handle(data, context):
    if data is not None:
        raise PredictionException("as you wished", int(bytes(data[0]["body"])))
"""

#: A handler that prints and logs.
_LOUD = """import logging
import sys


def handle(data, context):
    if data is None:
        return None
    print("said it")
    logging.getLogger(__name__).info("logged it")
    sys.stderr.write("warned of it\\n")
    return ["loud"] * len(data)
"""

#: How sequences come together: so many, which may be idle for ten minutes.
_SEQUENCES = {**batching(4, 20), "sequenceBatching": True, "sequenceMaxIdleMSec": 600_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client sees. Of gRPC, `status` is the code; of files there is the body alone."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: str


def answer(side: Side, question: Question) -> Answer | None:
    """Ask a server, or look at what it has written."""
    if isinstance(question, Request):
        return ask(side, question)
    if isinstance(question, Look):
        return Answer(status=0, reason="", headers={}, body=make_alike(look(side, question), side))
    told = make_call(side, question)
    text = make_alike(told.text.replace("\\n", "\n").replace('\\"', '"'), side)
    return Answer(status=told.number, reason=told.code, headers={}, body=text)


def ask(side: Side, request: Request) -> Answer | None:
    """Send one request over a connection of its own; None where it is not answered."""
    parts = urlsplit(side.urls[request.port])
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=_TIMEOUT_S)
    headers = dict(request.headers)
    if request.token:
        keys = json.loads((side.folder / "key_file.json").read_text("utf-8"))
        headers["Authorization"] = f"Bearer {keys[request.token]['key']}"
    try:
        connection.request(request.method, request.path, request.body or None, headers)
        response = connection.getresponse()
        raw = response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    body = make_alike(raw.decode("latin-1"), side)
    outline = outline_of(raw)
    if outline is not None:
        body = json.dumps(outline, indent=1, sort_keys=True)
    fields = {name.lower(): make_alike(value, side) for name, value in response.getheaders()}
    if body != raw.decode("latin-1"):
        fields.pop("content-length", None)  # it differs with what was made alike
    return Answer(status=response.status, reason=response.reason, headers=fields, body=body)


def outline_of(raw: bytes) -> object:
    """Give what clients are generated from of an OpenAPI document; None where it is none."""
    document = _parsed(raw.decode("utf-8", "replace"))
    if not isinstance(document, dict) or "openapi" not in document:
        return None
    return {
        "title": document["info"]["title"],
        "paths": {
            f"{method} {path}": {
                "operation": operation["operationId"],
                "takes": sorted(
                    f"{each['in']} {each['name']} {each.get('required', False)} "
                    f"{each['schema']['type']}"
                    for each in operation.get("parameters", ())
                ),
            }
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        },
    }


def make_alike(text: str, side: Side) -> str:
    """Put the same in place of what differs by nature."""
    for place in (str(side.folder), *side.urls.values()):
        text = text.replace(place, "HERE")
    for pattern, instead in _ALIKE:
        text = pattern.sub(instead, text)
    return text


def differences(theirs: Answer | None, ours: Answer | None) -> Iterator[tuple[str, str, str]]:
    """Tell what differs: what, TorchServe's, TorchLoom's."""
    if theirs is None or ours is None:
        if theirs is not ours:
            yield (
                "answer",
                *("none" if each is None else str(each.status) for each in (theirs, ours)),
            )
        return
    if theirs.status != ours.status:
        yield "status", str(theirs.status), str(ours.status)
    if theirs.reason != ours.reason:
        yield "reason", repr(theirs.reason), repr(ours.reason)
    for name in sorted({*theirs.headers, *ours.headers}):
        if name == "content-length" and theirs.body != ours.body:
            continue
        one, other = theirs.headers.get(name, "absent"), ours.headers.get(name, "absent")
        if one != other:
            yield f"header {name}", one, other
    if theirs.body != ours.body:
        is_json = _parsed(theirs.body) is not None and _parsed(theirs.body) == _parsed(ours.body)
        yield "body" + (" (same JSON)" if is_json else ""), *_where(theirs.body, ours.body)


def _parsed(text: str) -> object:
    try:
        parsed: object = json.loads(text)
    except ValueError:
        return None
    return parsed


def _where(one: str, other: str) -> tuple[str, str]:
    """Cut long texts to the lines that one alone has, or to where they begin to differ."""
    if max(len(one), len(other)) <= _LONGEST:
        return repr(one), repr(other)
    ours, theirs = set(other.splitlines()), set(one.splitlines())
    own = ["\n".join(sorted(each)) for each in (theirs - ours, ours - theirs)]
    if sum(map(len, own)) < len(one) + len(other) and any(own):
        return f"alone: {own[0]}", f"alone: {own[1]}"
    place = next(
        (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    start = max(0, place - 60)
    lengths = f"[{len(one)} / {len(other)} characters, from {start}]"
    return f"{lengths} {one[start : start + 250]!r}", f"{other[start : start + 250]!r}"


def write_store(store: Path) -> None:
    """Write the archives that are asked for: sound and broken ones."""
    store.mkdir(parents=True)
    for handler in ("probe", "streaming", "noop", "kinds"):
        write_mar(store, handler)
    write_mar(store, "sums", config={**_SEQUENCES, "maxNumSequence": 16})
    write_mar(store, "sums", name="few", config={**_SEQUENCES, "maxNumSequence": 1})
    write_mar(store, "continuous", config={**batching(4, 20), "continuousBatching": True})
    write_mar(store, "coroutine", config={**batching(1, 20), "asyncCommunication": True})
    for name, code in (("raising", _RAISING), ("refusing", _REFUSING), ("loud", _LOUD)):
        write_mar_of(store, name, {"handler.py": code})
    write_mar(store, "noop", name="idle")
    write_mar(store, "noop", name="later")
    noop = (Path(__file__).parent / "archives" / "noop.py").read_text("utf-8")
    write_mar_of(store, "later", {"handler.py": noop}, version="2.0", file="second.mar")
    write_mar_of(store, "failing", {"handler.py": _FAILING})
    (store / "broken.mar").write_bytes(b"no zip file")
    write_mar_of(store, "empty", {})
    write_war(store, "diamond")


def compare(
    commands: Mapping[str, Sequence[str]],
    folder: Path,
    questions: Sequence[Question],
    **about: object,
) -> list[tuple[Question, Answer | None, list[tuple[str, str, str]]]]:
    """Ask both the same, one request after the other; the first command's is what is expected."""
    found = []
    with ExitStack() as stack:
        sides = []
        for name, command in commands.items():
            store = folder / f"{name}-store"
            write_store(store)
            side = Side(command, folder / name, store=store, **about)  # type: ignore[arg-type]
            sides.append(stack.enter_context(side))
        for question in questions:
            answers = [answer(side, question) for side in sides]
            theirs, ours = answers if len(answers) == 2 else (answers[0], answers[0])
            found.append((question, theirs, list(differences(theirs, ours))))
    return found


def compare_all(
    commands: Mapping[str, Sequence[str]], folder: Path
) -> list[tuple[Question, Answer | None, list[tuple[str, str, str]]]]:
    """Compare in every way in which servers are set up."""
    open_words = ("--disable-token-auth", "--enable-model-api")
    words = ("--ncs", *open_words)
    questions: tuple[Question, ...] = (
        *requests.FIRST,
        *requests.INFERENCE,
        *requests.ENGINES,
        *calls.INFERENCE,
        *requests.METRICS,
        *requests.MANAGEMENT,
        *calls.MANAGEMENT,
        *requests.LAST,
        *LOGS,
        *requests.DEATH,
    )
    models = ("probe.mar", "streaming.mar")
    found = compare(commands, folder / "open", questions, models=models, words=words)
    closed = (*requests.TOKENS, *calls.TOKENS)
    found += compare(commands, folder / "closed", closed, models=("probe.mar",), words=("--ncs",))
    kept = (*requests.CHANGES, *SNAPSHOTS)
    found += compare(commands, folder / "kept", kept, models=("probe.mar",), words=open_words)
    for envelope in ("body", "json", "kserve", "kservev2"):
        is_last = envelope == "kservev2"
        said = {"service_envelope": envelope, "ts_open_inference_protocol": str(is_last).lower()}
        asked = (*requests.INPUTS, *calls.OPEN_INFERENCE) if is_last else requests.INSTANCES
        models = ("kinds.mar",)
        found += compare(
            commands, folder / envelope, asked, models=models, words=words, properties=said
        )
    return found


def main() -> int:
    """Compare, write, and tell how many requests were answered differently."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torchserve", required=True, help="PATH/bin/torchserve")
    parser.add_argument("--output", type=Path, help="a Markdown file for what differs")
    parser.add_argument("--alone", action="store_true", help="TorchServe only: what it answers")
    options = parser.parse_args()
    commands: dict[str, Sequence[str]] = {"TorchServe": (options.torchserve,)}
    if not options.alone:
        commands["TorchLoom"] = TORCHLOOM
    with tempfile.TemporaryDirectory() as text:
        found = compare_all(commands, Path(text))
    lines = list(render(found, is_alone=options.alone))
    output = "\n".join(lines) + "\n"
    if options.output:
        options.output.write_text(output, "utf-8")
    sys.stdout.write(output)
    return int(any(differing for _, _, differing in found))


def render(
    found: Sequence[tuple[Question, Answer | None, list[tuple[str, str, str]]]], *, is_alone: bool
) -> Iterator[str]:
    """Write what differs; or, of TorchServe alone, what it answers."""
    differing = sum(bool(each) for _, _, each in found)
    yield f"{differing} of {len(found)} requests are answered differently."
    for request, theirs, each in found:
        if each or is_alone:
            yield f"\n### {request.name}"
        if is_alone and theirs is not None:
            yield f"{theirs.status} {theirs.reason!r} {dict(theirs.headers)}"
            yield theirs.body[:_LONGEST]
        for what, one, other in each:
            yield f"- {what}\n  - TorchServe: {one}\n  - TorchLoom: {other}"


if __name__ == "__main__":
    sys.exit(main())
