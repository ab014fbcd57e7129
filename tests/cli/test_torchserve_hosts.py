"""`torchloom torchserve` as KServe and SageMaker start it: with files that others have written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest


sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from model_fakes.archives import make_mar


pytestmark = pytest.mark.slow

Configure = Callable[..., list[int]]
Start = Callable[..., AbstractContextManager[object]]

SERVICE = """\
def handle(data, context):
    if data is None:
        return None
    rows = [row.get("body") for row in data]
    return [{"kind": type(row).__name__, "model": context.model_name} for row in rows]
"""


def test_serves_the_configuration_of_kserve(
    tmp_path: Path, configure: Configure, start: Start
) -> None:
    """Its model_snapshot is written by hand, without a time; the archive says the version."""
    (tmp_path / "models").mkdir()
    make_mar(
        tmp_path / "models", "mnist", "service.py", {"service.py": SERVICE}, modelVersion="2.0"
    )
    models = {
        "mnist": {
            "1.0": {
                "defaultVersion": True,
                "marName": "mnist.mar",
                "minWorkers": 1,
                "maxWorkers": 5,
                "batchSize": 5,
                "maxBatchDelay": 200,
                "responseTimeout": 60,
            }
        }
    }
    snapshot = {"name": "startup.cfg", "modelCount": 1, "models": models}
    ports = configure(
        tmp_path,
        "model_store=models",
        "NUM_WORKERS=1",
        "enable_envvars_config=true",
        f"model_snapshot={json.dumps(snapshot)}",
    )
    environment = {"TS_SERVICE_ENVELOPE": "kserve"}
    with start(tmp_path, "--disable-token-auth", environment):
        url, management = (f"http://127.0.0.1:{port}" for port in ports[:2])
        (about,) = httpx.get(f"{management}/models/mnist", timeout=60).json()
        answer = httpx.post(
            f"{url}/v1/models/mnist:predict", json={"instances": [{"body": 1}]}, timeout=60
        )

    keys = ("modelVersion", "batchSize", "maxBatchDelay", "maxWorkers", "responseTimeout")
    assert [about[key] for key in keys] == ["2.0", 5, 200, 5, 60]
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"predictions": [{"kind": "int", "model": "mnist"}]}


def test_serves_folders_as_sagemaker_has_them(
    tmp_path: Path, configure: Configure, start: Start
) -> None:
    """They lie outside the store, have no manifest, and the handler is the server's default one."""
    (tmp_path / "models").mkdir()
    make_mar(tmp_path / "models", "packed", "service.py", {"service.py": SERVICE})
    folder = tmp_path / "opt" / "model"
    folder.mkdir(parents=True)
    (folder / "service.py").write_text(SERVICE)
    ports = configure(
        tmp_path,
        "default_workers_per_model=1",
        "default_service_handler=service.py:handle",
        "decode_input_request=false",
    )
    words = (
        "--model-store models --disable-token-auth --enable-model-api "
        f"--models first={folder} packed=/elsewhere/packed.mar"
    )
    with start(tmp_path, words):
        url, management = (f"http://127.0.0.1:{port}" for port in ports[:2])
        body = {"model_name": "second", "url": str(folder), "initial_workers": "1"}
        told = httpx.post(f"{management}/models", json=body, timeout=60)
        answers = [
            httpx.post(f"{url}/models/{name}/invoke", json={}, timeout=60)
            for name in ("first", "second", "packed")
        ]
        absent = httpx.post(f"{management}/models?url=/elsewhere/absent.mar", timeout=60)

    assert told.status_code == 200, told.text
    assert [answer.json()["model"] for answer in answers] == ["first", "second", "packed"]
    assert {answer.json()["kind"] for answer in answers} == {"bytearray"}
    assert absent.json()["message"] == "Model not found at: /elsewhere/absent.mar"
