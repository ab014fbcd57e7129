"""The requests whose answers of TorchServe and TorchLoom are compared: data only, in their order.

What changes a server's state stands after what asks for it. `{store}` is the model store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


Port = Literal["inference", "management", "metrics"]

_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. `token` is the key of key_file.json that it carries, where there are tokens."""

    port: Port
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    token: str = ""

    @property
    def name(self) -> str:
        """Tell the request in one line."""
        about = [f"{name}: {value}" for name, value in self.headers.items()]
        text = self.body.decode("latin-1") if len(self.body) < 80 else f"{len(self.body)} bytes"
        words = [self.port, self.method, self.path, *about, json.dumps(text) if text else ""]
        return " ".join([*words, f"token={self.token}" if self.token else ""]).strip()


def _ask(path: str, method: str = "POST", body: bytes = b"", **headers: str) -> Request:
    """Ask the inference port; names of headers have - for _."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(port="inference", method=method, path=path, headers=named, body=body)


def _do(deed: str) -> Request:
    return Request(
        port="inference", method="POST", path="/predictions/probe", headers={"do": deed}, body=b"1"
    )


def _manage(method: str, path: str, body: bytes = b"", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(port="management", method=method, path=path, headers=named, body=body)


def _metrics(method: str, path: str) -> Request:
    return Request(port="metrics", method=method, path=path)


_MULTIPART = (
    b"--cut\r\nContent-Disposition: form-data; name=a\r\n\r\none\r\n"
    b"--cut\r\nContent-Disposition: form-data; name=a\r\n\r\ntwo\r\n"
    b'--cut\r\nContent-Disposition: form-data; name="j"\r\nContent-Type: application/json\r\n\r\n'
    b'{"x": 1}\r\n'
    b'--cut\r\nContent-Disposition: form-data; name="f"; filename="f.json"\r\n'
    b'Content-Type: application/json\r\n\r\n{"y": 2}\r\n'
    b'--cut\r\nContent-Disposition: form-data; name="t"; filename="t.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\nwords\r\n--cut--\r\n"
)

_ITEMS = [
    "bytes",
    "bytearray",
    "str",
    "empty",
    "int",
    "float",
    "none",
    "bool",
    "list",
    "dict",
    "object",
    "nan",
]

#: Archives of handlers that are asked besides the first two.
FURTHER = ("raising", "refusing", "loud", "sums", "few", "continuous", "coroutine")

#: Before all others: what is registered, and a model without workers.
FIRST = (
    *(
        Request(port="management", method="POST", path=f"/models?url={name}.mar")
        for name in FURTHER
    ),
    *(Request(port="management", method="GET", path=f"/models/{name}") for name in FURTHER),
    Request(port="management", method="POST", path="/models?url=idle.mar&initial_workers=0"),
    Request(port="management", method="PUT", path="/models/idle?min_worker=0&synchronous=true"),
)

#: Paths that describe a model, or what else there is, by OPTIONS.
_DESCRIBED = """\
/predictions/probe/1.0 /predictions/probe/9.9 /predictions /explanations/probe
/explanations/probe/9.9 /invocations?model_name=probe /invocations?model_name=none /invocations
/models/probe/invoke /models/none/invoke /probe/predict /probe/9.9/predict
/v1/models/probe:predict /v1/models/none:predict /v2/models/probe/infer /wfpredict/none /ping
"""

#: Section 1.1: the inference port.
INFERENCE = (
    _ask("/", "OPTIONS"),
    _ask("/", "GET"),
    _ask("/api-description", "GET"),
    _ask("/ping", "GET"),
    _ask("/ping", "POST"),
    _ask("/ping", "PUT"),
    _ask("/ping/", "GET"),
    _ask("/nowhere", "GET"),
    _ask("/predictions", "POST"),
    _ask("/predictions/none", "POST"),
    _ask("/predictions/probe/9.9", "POST"),
    _ask("/predictions/idle", "POST"),
    _ask("/predictions/idle/1.0", "POST"),
    _ask("/predictions/probe", "OPTIONS"),
    _ask("/predictions/none", "OPTIONS"),
    *(_ask(path, "OPTIONS") for path in _DESCRIBED.split()),
    _ask("/predictions/probe", "GET"),
    _ask("/predictions/probe", "PUT", b"x", Content_Type="text/plain"),
    _ask("/predictions/probe", "DELETE"),
    _ask("/predictions/probe?a=1&b=2", "POST", b"x"),
    _ask("/predictions/probe/1.0", "POST", b"x"),
    _ask("/predictions/probe/1.0/a/b", "POST", b"x"),
    _ask("/predictions/probe/1.0/a/b?c=d", "POST", b"x"),
    _ask("/predictions/probe/", "POST", b"x"),
    _ask("/predictions/probe", body=b'{"a": [1, 2]}', **_JSON),
    _ask("/predictions/probe", body=b'{"a": [1, 2', **_JSON),
    _ask("/predictions/probe", body=b'{"a": 1}', Content_Type="application/json; charset=utf-8"),
    _ask("/predictions/probe", body=b'{"a": 1}', Content_Type="application/x-other"),
    _ask("/predictions/probe", body="grüße".encode(), Content_Type="text/plain"),
    _ask("/predictions/probe", body="grüße".encode(), Content_Type="text/html; charset=utf-8"),
    _ask("/predictions/probe", body=b"\x00\xff"),
    _ask("/predictions/probe", body=b"", **_JSON),
    _ask("/predictions/probe", body=_MULTIPART, Content_Type="multipart/form-data; boundary=cut"),
    _ask(
        "/predictions/probe",
        body=b"a=1&b=two%20words&a=3&c=",
        Content_Type="application/x-www-form-urlencoded",
    ),
    _ask("/predictions/probe", body=b"x", X_MiXed_Case="Kept", x_other="1"),
    _ask("/explanations/probe", body=b"x"),
    _ask("/explanations/probe/1.0", body=b"x"),
    _ask("/explanations/none", body=b"x"),
    _ask("/invocations", body=b"x"),
    _ask("/invocations?model_name=probe&q=1", body=b"x"),
    _ask(
        "/invocations",
        body=b"model_name=probe&a=1",
        Content_Type="application/x-www-form-urlencoded",
    ),
    _ask("/models/probe/invoke?q=1", body=b"x"),
    _ask("/probe/predict?q=1", body=b"x"),
    _ask("/probe/1.0/predict", body=b"x"),
    _ask("/none/predict", body=b"x"),
    _ask("/v1/models/probe:predict", body=b'{"instances": [1]}', **_JSON),
    _ask("/v1/models/probe:explain", body=b'{"instances": [1]}', **_JSON),
    _ask("/v1/models/none:predict", body=b'{"instances": [1]}', **_JSON),
    _ask("/v2/models/probe/infer", body=b'{"inputs": []}', **_JSON),
    _ask("/v2/models/probe/explain", body=b'{"inputs": []}', **_JSON),
    _ask("/v2/models/probe", "GET"),
    _ask("/v2/models/probe/ready", "GET"),
    _ask("/v2/health/ready", "GET"),
    _ask("/v2", "GET"),
    _ask("/wfpredict/none", body=b"x"),
    *(_do(f"item:{item}") for item in _ITEMS),
    *(_do(f"whole:{whole}") for whole in ("text", "dict", "none")),
    _do("more"),
    _do("value:oh"),
    _do("memory:"),
    _do("runtime:CUDA out of memory"),
    *(_do(f"predict:{code}") for code in (400, 404, 422, 429, 500, 512, 599)),
    *(_do(f"status:{about}") for about in ("200 Fine", "201", "204", "418 teapot", "503")),
    _do("typed:text/html"),
    _ask("/predictions/streaming", body=b"1"),
    _ask("/predictions/probe", body=b"x" * 70_000),
    _ask("/predictions/probe", body=b"x" * 6_553_501),
)


def _add(own: str, number: str, model: str = "sums", **headers: str) -> Request:
    """Add a number to a sequence; without a name, to one that the server makes up."""
    named = {"ts_request_sequence_id": own} if own else {}
    return Request(
        port="inference",
        method="POST",
        path=f"/predictions/{model}",
        headers={**named, **headers},
        body=number.encode(),
    )


#: Section 4.5: sequences, continuous batching, coroutines; and what is printed, for the logs.
ENGINES = (
    _add("a", "1"),
    _add("a", "2"),
    _add("b", "5", ts_request_sequence_start="true"),
    _add("a", "fail"),
    _add("a", "3"),
    _add("a", "100"),
    _add("a", "1"),
    _add("", "7"),
    _add("b", "1", ts_request_sequence_end="true"),
    _add("x", "1", "few"),
    _add("y", "1", "few"),
    _add("x", "2", "few"),
    *(_ask("/predictions/continuous", body=number) for number in (b"2", b"3")),
    *(_ask("/predictions/coroutine", body=text) for text in (b"hi", b"parts", b"teapot")),
    *(_ask("/predictions/refusing", body=code) for code in (b"404", b"507")),
    _ask("/predictions/raising", body=b"x"),
    _ask("/predictions/loud", body=b"x"),
)

#: The last that is asked before the logs are looked at.
LAST = (_ask("/last", "GET"),)

_INPUT = b'{"name": "%s", "shape": [1], "datatype": "INT64", "data": [1]}'
_TEXT = b'{"name": "t", "shape": [1], "datatype": "BYTES", "data": ["aGk="]}'
_VALUES = (b"float", b"floats", b"int", b"nested", b"bool", b"text", b"texts", b"mixed", b"object")

#: Section 1.5: documents of the first protocol, for its envelopes and for those before it.
INSTANCES = (
    *(
        _ask(path, body=b'{"instances": ' + said + b"}", **_JSON)
        for path in ("/predictions/kinds", "/v1/models/kinds:predict", "/v1/models/kinds:explain")
        for said in (b'["floats", "text", 3]', b'[{"a": {"b64": "aGk="}, "b": 1}, {"b64": "eA=="}]')
    ),
    *(
        _ask("/predictions/kinds", body=body, **_JSON)
        for body in (b"{}", b"[1]", b"no JSON", b'{"instances": 5}')
    ),
)

#: Documents of the second one.
INPUTS = (
    *(
        _ask(f"/v2/models/kinds/{verb}", body=b'{"id": "i", "inputs": [' + said + b"]}", **_JSON)
        for verb in ("infer", "explain")
        for said in (*(_INPUT % each for each in _VALUES), _TEXT, _INPUT % b"x" + b", " + _TEXT)
    ),
    _ask("/v2/models/kinds/infer", body=b'{"inputs": [' + _INPUT % b"int" + b"]}", **_JSON),
    _ask("/v2/models/kinds/infer", body=b"{}", **_JSON),
)

#: Section 1.2: the management port; after it models are gone.
MANAGEMENT = (
    _manage("OPTIONS", "/"),
    _manage("GET", "/"),
    _manage("GET", "/nowhere"),
    _manage("GET", "/models"),
    _manage("GET", "/models?limit=1"),
    _manage("GET", "/models?limit=1&next_page_token=1"),
    _manage("GET", "/models?limit=0"),
    _manage("GET", "/models?limit=-3"),
    _manage("GET", "/models?limit=x"),
    _manage("GET", "/models?next_page_token=-1&limit=2"),
    _manage("GET", "/models?next_page_token=99"),
    _manage("GET", "/models/probe"),
    _manage("GET", "/models/probe/1.0"),
    _manage("GET", "/models/probe/all"),
    _manage("GET", "/models/none"),
    _manage("GET", "/models/probe/9.9"),
    _manage("GET", "/models/idle"),
    _manage("GET", "/models/idle?customized=true"),
    _manage("GET", "/models/probe?customized=true"),
    _manage("OPTIONS", "/models/probe"),
    _manage("OPTIONS", "/models/none"),
    _manage("GET", "/v1/models/probe"),
    _manage("GET", "/v1/models/idle"),
    _manage("GET", "/v1/models/none"),
    _manage("POST", "/v1/models/probe"),
    _manage("POST", "/models/probe"),
    _manage("PUT", "/models"),
    _manage("DELETE", "/models"),
    _manage("POST", "/models"),
    _manage("POST", "/models?url="),
    _manage("POST", "/models?url=gone.mar"),
    _manage("POST", "/models?url=s3://x/gone.mar"),
    _manage("POST", "/models?url=../gone.mar"),
    _manage("POST", "/models?url=ftp://x/gone.mar"),
    _manage("POST", "/models?url=http://127.0.0.1:9/gone.mar"),
    _manage("POST", "/models?url=http://127.0.0.1:9/probe.mar"),
    _manage("POST", "/models?url=probe.mar&runtime=ruby"),
    _manage("POST", "/models?url=probe.mar"),
    _manage("POST", "/models?url=broken.mar"),
    _manage("POST", "/models?url=empty.mar"),
    _manage("POST", "/models?url=later.mar"),
    _manage("POST", "/models?url=later.mar&initial_workers=1"),
    _manage("GET", "/models/later"),
    _manage("PUT", "/models/later?min_worker=1&synchronous=true"),
    _manage("GET", "/models/later"),
    _manage("PUT", "/models/later?min_worker=2&max_worker=1"),
    _manage("PUT", "/models/later/1.0?min_worker=2&synchronous=true"),
    _manage("PUT", "/models/later?min_worker=x&synchronous=true"),
    _manage("PUT", "/models/later/9.9?min_worker=1"),
    _manage("PUT", "/models/none?min_worker=1"),
    _manage("PUT", "/models/later/1.0/set-default"),
    _manage("PUT", "/models/later/9.9/set-default"),
    _manage("PUT", "/models/none/1.0/set-default"),
    _manage("POST", "/models?url=second.mar&initial_workers=1&batch_size=x&max_batch_delay=y"),
    _manage("GET", "/models/later/all"),
    _manage("DELETE", "/models/later/1.0"),
    _manage("DELETE", "/models/later/9.9"),
    _manage("PUT", "/models/later/2.0/set-default"),
    _manage("DELETE", "/models/later/1.0"),
    _manage("DELETE", "/models/later/"),
    _manage("DELETE", "/models/later"),
    _manage("POST", "/models", b'{"url": "later.mar", "batch_size": "4"}', **_JSON),
    _manage("POST", "/models", b'{"url": ', **_JSON),
    _manage("DELETE", "/models/later"),
    _manage("POST", "/models?url=later.mar&model_name=other&initial_workers=1&synchronous=no"),
    _manage("POST", "/models?url=later.mar&model_name=negative&initial_workers=-2"),
    _manage("POST", "/models?url=failing.mar&initial_workers=1"),
    _manage("GET", "/token?type=inference"),
    _manage("GET", "/workflows"),
    _manage("GET", "/workflows/none"),
    _manage("DELETE", "/workflows/none"),
    _manage("PUT", "/workflows/none"),
    _manage("POST", "/workflows"),
    _manage("POST", "/workflows?url=gone.war"),
    _manage("POST", "/workflows?url=diamond.war"),
    _manage("POST", "/workflows?url=diamond.war"),
    _manage("GET", "/workflows"),
    _manage("GET", "/workflows/diamond"),
    _ask("/wfpredict/diamond", body=b"x"),
    _manage("DELETE", "/workflows/diamond"),
)

#: Section 1.4: the metrics port.
METRICS = (
    _metrics("OPTIONS", "/"),
    _metrics("GET", "/"),
    _metrics("GET", "/nowhere"),
    _metrics("GET", "/metrics"),
    _metrics("POST", "/metrics"),
)

#: What snapshots are written after.
CHANGES = (
    _manage("POST", "/models?url=noop.mar&initial_workers=1&batch_size=2"),
    _manage("POST", "/models?url=sums.mar"),
    _manage("PUT", "/models/noop?min_worker=2&synchronous=true"),
    _manage("POST", "/models?url=later.mar&initial_workers=0"),
    _manage("DELETE", "/models/later"),
    _manage("POST", "/models?url=gone.mar"),
)

#: What kills the worker: last, as it takes seconds until there is a worker again.
DEATH = (_do("exit:3"), _ask("/ping", "GET"))


def _with(token: str, request: Request) -> Request:
    return Request(
        port=request.port,
        method=request.method,
        path=request.path,
        headers=request.headers,
        body=request.body,
        token=token,
    )


_GUARDED = (
    _ask("/ping", "GET"),
    _ask("/", "OPTIONS"),
    _ask("/api-description", "GET"),
    _ask("/predictions/probe", body=b"x"),
    _manage("GET", "/models"),
    _manage("OPTIONS", "/"),
    _manage("POST", "/models?url=later.mar"),
    _manage("DELETE", "/models/probe"),
)

#: With tokens, and without the model API.
TOKENS = (
    *_GUARDED,
    *(_with("inference", request) for request in _GUARDED),
    *(_with("management", request) for request in _GUARDED),
    _ask("/ping", "GET", Authorization="Bearer wrong"),
    _metrics("GET", "/metrics"),
    _manage("GET", "/token?type=inference"),
    _with("inference", _manage("GET", "/token?type=inference")),
    _with("API", _manage("GET", "/token")),
    _with("API", _manage("GET", "/token?type=none")),
    _with("API", _manage("GET", "/token?type=inference")),
    _with("inference", _ask("/ping", "GET")),
)
