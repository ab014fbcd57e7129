"""Setting: what a node says beside its call and its values."""

from __future__ import annotations

import pytest
from workflow_fakes.catalog import build, find_faults, signature_of, with_node

from torchloom.errors import InvalidWorkflow
from torchloom.graph import Items
from torchloom.policy import CachePolicy, RetryPolicy
from torchloom_workflows.builder import build_graph
from torchloom_workflows.loader import load_document
from torchloom_workflows.setting import to_cache, to_items, to_retry


def test_reads_retry() -> None:
    """Causes may be one word or a list; the rest has the policy's own defaults."""
    assert to_retry({}) == RetryPolicy()
    assert to_retry({"retry": {"attempts": 3, "backoff_s": 0.5, "on": "timeout"}}) == RetryPolicy(
        attempts=3, backoff_s=0.5, on=("timeout",)
    )
    assert to_retry({"retry": {"on": ["failed", "timeout"]}}).on == ("failed", "timeout")


def test_reads_cache() -> None:
    """`true` keeps results for the usual time, and `false` not at all."""
    assert to_cache({}) is None
    assert to_cache({"cache": False}) is None
    assert to_cache({"cache": True}) == CachePolicy()
    assert to_cache({"cache": {"ttl_s": 5}}) == CachePolicy(ttl_s=5)
    assert to_cache({"cache": {}}) == CachePolicy()


def test_reads_items() -> None:
    """Anything but `lines` and `json` is a regular expression."""
    assert to_items({}) is None
    assert to_items({"items": "lines"}) == Items("lines")
    assert to_items({"items": "json"}) == Items("json")
    assert to_items({"items": r"\d+"}) == Items("regex", r"\d+")


def test_fills_the_node() -> None:
    """Every setting arrives in the graph."""
    node = build(
        with_node(
            "{model: llama, inputs: {prompt: x}, timeout_s: 3, priority: -2, device: 'cuda:0', "
            "retry: {attempts: 2}, cache: {ttl_s: 9}, items: json, when: true}"
        )
    ).nodes["a"]
    assert (node.timeout_s, node.priority, node.device) == (3.0, -2, "cuda:0")
    assert (node.retry.attempts, node.cache, node.items) == (2, CachePolicy(ttl_s=9), Items("json"))
    assert node.outputs == ("text", "usage", "items")


@pytest.mark.parametrize(
    ("node", "fault"),
    [
        (
            "{template: x, params: {a: 1}}",
            "3:20: 'params' means nothing for a template, only for a model",
        ),
        ("{template: x, device: cpu}", "3:20: 'device' means nothing for a template"),
        ("{template: x, priority: 1}", "3:20: 'priority' means nothing for a template"),
        ("{template: x, items: lines}", "3:20: 'items' means nothing for a template"),
        (
            "{template: x, repeat: {until: '{{ outputs.text }}', max: 2}}",
            "3:20: 'repeat' means nothing for a template, only for a workflow.",
        ),
        ("{template: x, limit: 2}", "3:20: 'limit' means nothing without 'foreach'."),
        (
            "{model: llama, inputs: {prompt: x}, device: gpu}",
            "3:50: Unknown device 'gpu'. Write one of: auto",
        ),
        (
            "{model: minilm, inputs: {text: x}, items: lines}",
            "3:48: Model 'minilm' gives no `text` that could be cut into items.",
        ),
        (
            "{model: llama, inputs: {prompt: x}, items: line}",
            "3:49: 'line' is neither `lines` nor `json`, nor a regular expression. Did you mean",
        ),
        (
            "{model: llama, inputs: {prompt: x}, items: '[a'}",
            "3:49: '[a' is not a regular expression: ",
        ),
    ],
)
def test_finds_settings_that_cannot_be(node: str, fault: str) -> None:
    """A setting that would have no effect, or could not be used, is a fault."""
    faults = find_faults(with_node(node))
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_refuses_hints_that_can_never_hold() -> None:
    """`auto` is none, and a device that the model lacks is named with those that it has."""
    node = "{model: llama, inputs: {prompt: x}, device: %s}"
    (fault,) = find_faults(with_node(node % "auto"))
    assert "'auto' is no hint" in fault
    with pytest.raises(InvalidWorkflow, match=r"Model 'llama' does not run on 'cuda'.*: cpu"):
        build_graph(
            load_document(with_node(node % "cuda")),
            signature_of=signature_of,
            model_names=("llama",),
            devices_of=lambda _name, _version: ["cpu"],
        )
