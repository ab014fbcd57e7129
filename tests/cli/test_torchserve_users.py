"""`torchloom torchserve` as its users set it up: whole deployments, each with what it relies on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import httpx
import pytest


sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from model_fakes.archives import make_mar


pytestmark = pytest.mark.slow

Configure = Callable[..., list[int]]
Start = Callable[..., AbstractContextManager["Popen[str]"]]

#: All ways to give metrics, those of a file of metrics among them.
MEASURED = """\
import logging

from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes
from ts.torch_handler.base_handler import BaseHandler

logger = logging.getLogger(__name__)


class Measured(BaseHandler):
    def initialize(self, context):
        self.context = context
        self.sizes = context.metrics.add_metric_to_cache(
            metric_name="BatchSize", unit="count", dimension_names=["ModelName"],
            metric_type=MetricTypes.GAUGE,
        )
        context.metrics.add_counter(
            "Loads", 1, None, [Dimension("ModelName", "mnist"), Dimension("Level", "Model")]
        )
        self.initialized = True

    def handle(self, data, context):
        rows = context.metrics.get_metric("Rows", MetricTypes.COUNTER)
        rows.add_or_update(len(data), ["measured", "body"])
        self.sizes.add_or_update(len(data), ["m"])
        context.metrics.add_time("Work", 12.5, None, "ms")
        context.metrics.add_error("Broken", "no number at all")
        context.metrics.add_metric(
            "Spread", 0.3, "Milliseconds", metric_type=MetricTypes.HISTOGRAM
        )
        return ["ok"] * len(data)
"""

METRICS = """\
dimensions:
  - &model "ModelName"
  - &level "Level"
ts_metrics:
  counter:
    - name: Requests2XX
      unit: Count
      dimensions: [*level, "Hostname"]
model_metrics:
  counter:
    - {name: Loads, unit: Count, dimensions: [*model, *level]}
    - {name: Rows, unit: Count, dimensions: [*model, "Kind"]}
    - {name: Broken, unit: Count, dimensions: [*level]}
  gauge:
    - {name: Work, unit: ms, dimensions: ["model_name", "level"]}
    - {name: BatchSize, unit: Count, dimensions: [*model]}
  histogram:
    - {name: Spread, unit: ms, dimensions: [*model, *level]}
"""


#: Tells what it finds, and says more than it may of caches.
LOOKING = """\
import json


class Looking:
    def initialize(self, context):
        self.initialized = True

    def handle(self, data, context):
        for index in range(len(data)):
            context.set_response_header(index, "Cache-Control", "max-age=60")
            context.set_response_header(index, "X-Own", "yes")
        return [
            {"kind": type(row["body"]).__name__, "length": len(row["body"]), "large": 2**70}
            for row in data
        ]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that is up, its folder, and its three ports."""

    folder: Path
    inference: httpx.Client
    management: httpx.Client
    metrics: httpx.Client

    def wait_for(self, file: str, text: str) -> str:
        """Give what is in a file of the logs once that has a text."""
        path = self.folder / "logs" / file
        found = ""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = path.read_text() if path.exists() else ""
            if text in found:
                return found
            time.sleep(0.01)
        raise AssertionError(found[-2000:])


@pytest.fixture
def deploy(
    tmp_path: Path, configure: Configure, start: Start
) -> Callable[..., AbstractContextManager[Running]]:
    """Start a server in a folder with a model store, as its users' scripts do."""

    @contextmanager
    def deploy(words: str = "", *lines: str, **environment: str) -> Iterator[Running]:
        ports = configure(tmp_path, *lines)
        words = f"--ncs --model-store models --disable-token-auth --enable-model-api {words}"
        clients = [httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) for port in ports]
        with start(tmp_path, words, environment), clients[0], clients[1], clients[2]:
            yield Running(
                folder=tmp_path,
                inference=clients[0],
                management=clients[1],
                metrics=clients[2],
            )

    (tmp_path / "models").mkdir()
    return deploy


Deploy = Callable[..., AbstractContextManager[Running]]


def test_answers_clients_of_every_sort(tmp_path: Path, deploy: Deploy) -> None:
    """One that offers HTTP/2 with a body, as Java's do; one that marks its JSON; large numbers."""
    make_mar(tmp_path / "models", "looking", "looking.py", {"looking.py": LOOKING})
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMA"}
    json_type = {"Content-Type": "application/json"}
    with deploy("--models looking.mar", "default_workers_per_model=1") as running:
        ask = running.inference.post
        offered = [ask("/predictions/looking", content=b"x" * 5, headers=offer) for _ in range(2)]
        parsed = ask("/predictions/looking", content=b"[1, 2]", headers=json_type)
        marked = ask("/predictions/looking", content=b"\xef\xbb\xbf[]", headers=json_type)

    large = 2**70
    for answer in offered:
        assert answer.json() == {"kind": "bytearray", "length": 5, "large": large}
    assert parsed.json() == {"kind": "list", "length": 2, "large": large}
    assert marked.json() == {"kind": "bytearray", "length": 5, "large": large}
    fresh = "no-cache; no-store, must-revalidate, private"
    assert parsed.headers.get_list("cache-control") == [fresh]
    assert parsed.headers["x-own"] == "yes"


def test_gives_handlers_the_metrics_of_their_file(tmp_path: Path, deploy: Deploy) -> None:
    """By `get_metric`, under the names of the file; a name that the handler gives is kept."""
    make_mar(tmp_path / "models", "measured", "measured.py", {"measured.py": MEASURED})
    (tmp_path / "metrics.yaml").write_text(METRICS)
    lines = ("metrics_mode=prometheus", "metrics_config=metrics.yaml")
    with deploy("--models measured=measured.mar", *lines) as running:
        assert running.inference.post("/predictions/measured", content=b"x").text == "ok"
        page = running.metrics.get("/metrics").text
        spread = running.metrics.get("/metrics", params={"name[]": "Spread_sum"}).text
        log = running.wait_for("model_log.log", "'no number at all' of the metric 'Broken'")

    host = page.partition('Hostname="')[2].partition('"')[0]
    for line in (
        f'Loads{{ModelName="mnist",Level="Model",Hostname="{host}",}} 1.0',
        f'Rows{{ModelName="measured",Kind="body",Hostname="{host}",}} 1.0',
        f'BatchSize{{ModelName="m",Hostname="{host}",}} 1.0',
        f'Work{{model_name="measured",level="Model",Hostname="{host}",}} 12.5',
        f'Spread_sum{{ModelName="measured",Level="Model",Hostname="{host}",}} 0.3',
    ):
        assert f"\n{line}\n" in page
    assert [line for line in spread.splitlines() if line[0] != "#"] == [
        f'Spread_sum{{ModelName="measured",Level="Model",Hostname="{host}",}} 0.3'
    ]
    assert "Traceback" not in log
    # gRPC warns there of every process that is started, unless it is told to leave forks alone.
    assert "fork" not in (tmp_path / "stderr").read_text()
