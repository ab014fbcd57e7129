"""What scripts of operators and older handlers import from `ts`."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest


pytestmark = pytest.mark.usefixtures("ts")


def find(name: str) -> Any:
    """Import what scripts import."""
    return importlib.import_module(name)


def test_writes_metrics_as_json() -> None:
    """Their dimensions, too; what is none is refused as ever."""
    metric = find("ts.metrics.metric").Metric(
        "Took", 3, "ms", [find("ts.metrics.dimension").Dimension("Level", "Host")]
    )
    encoder = find("ts.metrics.metric_encoder").MetricEncoder

    written = json.loads(json.dumps([metric], cls=encoder))[0]

    assert (written["MetricName"], written["Unit"]) == ("Took", "Milliseconds")
    assert written["Dimensions"] == [{"Name": "Level", "Value": "Host"}]
    with pytest.raises(TypeError):
        json.dumps(object(), cls=encoder)
    metric.reset()
    assert metric.value == 0


def test_tells_what_processes_hold(caplog: pytest.LogCaptureFixture) -> None:
    """A line each; of one that is gone, nothing."""
    caplog.set_level(logging.INFO)
    memory = find("ts.metrics.process_memory_metric")

    memory.check_process_mem_usage(io.StringIO(f"{os.getpid()},,99999999\n"))

    told = dict(line.split(":") for line in caplog.messages if line[0].isdigit())
    assert int(told[str(os.getpid())]) > 1 << 20
    assert told["99999999"] == "0"


def test_measures_what_a_module_of_ones_own_adds(caplog: pytest.LogCaptureFixture) -> None:
    """`collect_all` calls every public function of it."""
    caplog.set_level(logging.INFO)
    measures = find("ts.metrics.system_metrics")
    measures.system_metrics.clear()
    own = SimpleNamespace(memory=measures.memory_used, gpu_utilization=measures.gpu_utilization)

    measures.collect_all(own, 0)

    assert [each.name for each in measures.system_metrics] == ["MemoryUsed"]
    assert caplog.messages[0].startswith("MemoryUsed.Megabytes:")
    assert not caplog.messages[-1]


def test_times_and_deprecates_functions(capsys: pytest.CaptureFixture[str]) -> None:
    """What is decorated gives what it gave."""
    assert find("ts.utils.timeit_decorator").timeit(len)("abc") == 3
    assert capsys.readouterr().out.startswith("len took ")
    old = find("ts.utils.util").deprecated("0.9", replacement="new")(len)
    with pytest.warns(PendingDeprecationWarning, match=r"len .* 0\.9.* new"):
        assert old("ab") == 2


def test_tells_handlers_what_there_is() -> None:
    """Those that open weights by themselves ask BaseHandler's module for it."""
    base = find("ts.torch_handler.base_handler")

    assert base.PT2_AVAILABLE
    assert not base.XLA_AVAILABLE
    assert not base.IPEX_AVAILABLE
    assert base.ONNX_AVAILABLE is (importlib.util.find_spec("onnxruntime") is not None)
    assert base.logger.name.endswith("base_handler")


def test_fetches_a_model_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """By today's names of what it is told."""
    asked: dict[str, Any] = {}
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda **given: asked.update(given) or "/place"
    )
    module = importlib.reload(find("ts.utils.hf_utils"))

    assert module.download_model("a/b", revision="v1", model_path="cache") == "/place"
    assert (asked["repo_id"], asked["revision"], asked["cache_dir"]) == ("a/b", "v1", "cache")
    assert asked["token"] is True
    assert "*.safetensors" in asked["allow_patterns"]


def test_has_the_base_classes_of_multi_model_server(tmp_path: Path) -> None:
    """A handler of three steps, whose signature says what it is sent."""
    signature = {"input_type": "application/json", "inputs": [{"data_name": "numbers"}]}
    (tmp_path / "signature.json").write_text(json.dumps(signature))
    base = find("ts.model_service.model_service").SingleNodeService

    class Sum(base):  # type: ignore[misc, valid-type]  # found as handlers find it
        def _inference(self, data: list[list[int]]) -> int:
            return sum(data[0])

        def _postprocess(self, data: int) -> list[str]:
            return [str(data)]

    manifest = {"Model": {"Signature": "signature.json"}}
    service = Sum("sum", str(tmp_path), manifest)
    context = find("ts.context").Context("sum", str(tmp_path), manifest, 1, None, "0.12.0")
    service.initialize(context)

    assert service.handle([{"numbers": b"[1, 2]"}], context) == ["3"]
    assert service.handle([{"body": [4, 5]}], context) == ["9"]
    assert service.signature() == signature
    assert service.handle([{"body": b"[6]", "data": [7], "numbers": None}], context) == ["6"]
    (tmp_path / "signature.json").unlink()
    with pytest.raises(ValueError, match="Signature file is not found"):
        service.initialize(context)


def test_hands_on_what_no_signature_calls_json(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes stay bytes, one answer becomes a list, and the log has each step's time."""
    signature = {"input_type": "image/jpeg", "inputs": [{"data_name": "picture"}]}
    (tmp_path / "signature.json").write_text(json.dumps(signature))
    manifest = {"Model": {"Signature": "signature.json"}}
    service = find("ts.model_service.model_service").SingleNodeService("m", "/", manifest)
    context = find("ts.context").Context("m", str(tmp_path), manifest, 1, None, "0.12.0")
    service.initialize(context)
    service._postprocess = lambda data: data[0]
    with caplog.at_level("INFO"):
        assert service.handle([{"data": b"[1]"}], context) == [b"[1]"]

    lines = [record.getMessage().rpartition(" ")[0] for record in caplog.records]
    assert lines == ["preprocess time:", "inference time:", "postprocess time:"]
