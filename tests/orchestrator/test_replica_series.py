"""What a replica measures."""

from __future__ import annotations

from loom_fakes.engines import deploy

from torchloom.replica_series import ReplicaSeries
from torchloom.stats import Stats


def test_measures_by_model_version_and_device() -> None:
    """Steps count in length and size by device; tokens count by type."""
    stats = Stats()
    series = ReplicaSeries(stats, deploy("open_echo", version=3), "cuda:0")
    series.observe_step(4, 0.02)
    series.count_tokens({"prompt_tokens": 12, "completion_tokens": 5})
    series.count_tokens({"prompt_tokens": 1})
    values = {(s.metric.name, s.labels): s.value for s in stats.snapshot()}
    assert values["step_seconds", ("echo", "3", "cuda:0")] == 0.02
    assert values["batch_size", ("echo", "3", "cuda:0")] == 4
    assert values["tokens", ("echo", "3", "prompt")] == 13
    assert values["tokens", ("echo", "3", "completion")] == 5
