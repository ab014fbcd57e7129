"""Builder: a file to a graph, or everything that is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workflow_fakes.catalog import build, find_faults, make_catalog, signature_of, with_node
from workflow_fakes.files import MULTI_IMAGE, RAG

from torchloom.document import Document
from torchloom.errors import Fault, InvalidWorkflow
from torchloom.graph import Graph
from torchloom_workflows.builder import (
    MAX_EXPRESSIONS,
    build_graph,
    function_calls,
    inline_models,
)
from torchloom_workflows.loader import load_document


def test_builds_rag() -> None:
    """The RAG file of the documentation becomes a chain of three nodes."""
    graph = build(RAG)
    assert (graph.label, graph.stream) == ("rag@1", ("answer",))
    assert list(graph.dag.edges) == [("query", "passages"), ("passages", "answer")]
    assert graph.signature.required == {"question"}
    assert graph.signature.inputs["top_k"]["default"] == 4
    assert graph.signature.outputs == {
        "answer": {"type": "string"},
        "sources": {"type": "array", "items": {"type": "object"}},
    }
    assert graph.source == RAG
    answer = graph.nodes["answer"]
    assert (answer.timeout_s, answer.retry.attempts) == (30.0, 2)
    scope = {
        "inputs": {"question": "Why?"},
        "passages": {"documents": [{"text": "One."}, {"text": "Two."}]},
    }
    assert answer.inputs["messages"].evaluate(scope) == [
        {"role": "system", "content": "Answer from the passages alone."},
        {"role": "user", "content": "[1] One.\n[2] Two.\nQuestion: Why?"},
    ]
    assert (
        graph.chat["question"].evaluate({"messages": [{"content": "a"}, {"content": "b"}]}) == "b"
    )


def test_builds_multi_image() -> None:
    """The multi-image file fans out over the items of a stream."""
    graph = build(MULTI_IMAGE)
    pictures = graph.nodes["pictures"]
    assert pictures.reads == {"prompts"}
    assert pictures.foreach is not None
    assert pictures.foreach.evaluate({"prompts": {"items": ["a"]}}) == ["a"]
    assert pictures.inputs["seed"].evaluate({"inputs": {"seed": 7}, "index": 2}) == 9
    assert graph.stream == ("prompts", "pictures")
    assert graph.signature.outputs["prompts"] == {"type": "array"}


def test_builds_the_same_from_json() -> None:
    """JSON of the same data gives the same nodes."""
    for text in (RAG, MULTI_IMAGE):
        again = build(json.dumps(load_document(text).data))
        assert again.signature == build(text).signature
        assert list(again.dag.edges) == list(build(text).dag.edges)


def test_finds_every_fault_at_once() -> None:
    """Faults of all sorts come together, in the order of the file."""
    text = """\
name: w
vesion: 2
inputs: {q: {type: strin}, n: {type: integer, default: x}}
nodes:
  a: {model: lama, inputs: {prompt: "{{ inputs.qq }}"}}
  b: {model: llama, inputs: {promt: "{{ c.txt }}"}, retry: {attempts: 0}}
  c: {model: minilm, inputs: {text: "{{ b.text }}"}}
  d: {template: "{{ a.text", after: [zz]}
outputs: {x: "{{ e.text }}"}
stream: [m]
chat: {qq: "{{ messages[-1].content }}"}
"""
    faults = [fault.split(": ")[0] for fault in find_faults(text)]
    assert faults == sorted(faults, key=lambda place: [int(part) for part in place.split(":")])
    columns = {
        2: [1],
        3: [20, 56],
        5: [14, 37],
        6: [3, 29, 30, 37, 71],
        8: [17, 38],
        9: [14],
        10: [10],
        11: [7, 7, 8],
    }
    assert faults == [f"{line}:{column}" for line in columns for column in columns[line]]


def test_says_how_many_faults_there_are() -> None:
    """The message names the workflow, counts the faults and shows the first."""
    with pytest.raises(InvalidWorkflow) as caught:
        build(with_node("{model: lama, timeout_s: 0}"))
    assert str(caught.value) == (
        "Workflow 'w' has 2 faults. test.yaml:3:14: There is no model 'lama'. Did you mean 'llama'?"
    )


@pytest.mark.parametrize("text", ["3", "[]", "{}", "~", "name: w"])
def test_refuses_what_is_no_workflow(text: str) -> None:
    """Whatever is read, there are faults rather than an exception."""
    assert find_faults(text)


def test_does_not_call_a_node_unknown_that_is_broken() -> None:
    """A node with a fault of its own is still there for those that read it."""
    text = "name: w\nnodes: {a: 3, b: {template: '{{ a.text }}'}}\noutputs: {o: '{{ b.text }}'}\n"
    assert find_faults(text) == ["2:12: 'a' must be a mapping, not 3."]


def test_knows_the_stream() -> None:
    """`stream` names nodes, one or several."""
    text = with_node("{template: x}")
    assert build(text + "stream: a\n").stream == ("a",)
    assert build(text + "stream: [a, a]\n").stream == ("a",)
    assert build(text).signature.chunks is None
    assert find_faults(text + "stream: b\n") == ["6:9: There is no node 'b'. Known: a."]


def test_reads_chat_with_what_it_needs() -> None:
    """`chat` is checked beside inputs, stream and outputs; the graph holds its values."""
    text = with_node("{template: x}", inputs="{q: {type: string}}")
    text += "chat: {q: '{{ messages[-1].content }}'}\n"
    assert list(build(text + "stream: a\n").chat) == ["q"]
    assert find_faults(text) == [
        "6:1: Nothing answers a chat here: name the node that writes the answer in `stream`."
    ]
    assert find_faults(text + "stream: 3\n") == ["7:9: 'stream' must be a string or a list, not 3."]


def test_says_which_outputs_may_be_missing() -> None:
    """An output of a node that may be skipped may be null, however far on."""
    graph = build(
        "name: w\ninputs: {x: {type: boolean}}\nnodes:\n"
        "  a: {template: 'x', when: '{{ inputs.x }}'}\n  b: {template: 'y {{ a.text }}'}\n"
        "  c: {template: 'z'}\n"
        "outputs: {b: '{{ b.text }}', c: '{{ c.text }}', d: 'd {{ c.text }}'}\n"
    )
    assert graph.signature.outputs == {
        "b": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "c": {"type": "string"},
        "d": {"type": "string"},
    }


def test_takes_the_signature_of_a_workflow_from_its_graph() -> None:
    """A workflow that is called takes its inputs and gives its outputs, and no others."""
    inner = build(
        with_node("{template: x}", inputs="{q: {type: string}}").replace("name: w", "name: inner")
    )
    faults = find_faults(with_node("{workflow: inner, inputs: {r: 1}}", outputs="{{ a.p }}"), inner)
    assert [fault.partition(": ")[2] for fault in faults] == [
        "The input 'q' is missing: workflow 'inner' needs it.",
        "Workflow 'inner' takes no input 'r'. Did you mean 'q'?"
        if "Did you mean" in faults[1]
        else "Workflow 'inner' takes no input 'r'. Known: q.",
        "Node 'a' (workflow 'inner') gives no 'p'. Known: o.",
    ]


def test_gives_inline_models_as_files_of_their_own() -> None:
    """Each model has its name, and keeps its places in the file."""
    text = with_node("{model: small}") + "models:\n  small: {kind: llm, source: ./x}\n"
    document = load_document(text, "f.yaml")
    (model,) = inline_models(document)
    assert model.data == {"kind": "llm", "source": "./x", "name": "small"}
    assert str(model.fault("odd", "source")) == "f.yaml:7:30: odd"
    assert build(text).models == {"small"}
    assert inline_models(load_document("models: [x]")) == []
    assert inline_models(load_document("{models: {a: 3}}")) == []
    assert inline_models(load_document("3")) == []


def test_refuses_two_names_for_an_inline_model() -> None:
    """The key is the name."""
    text = with_node("{model: m}") + "models: {m: {name: n}}\n"
    assert find_faults(text) == ["6:20: This model is named 'm' already. Leave its `name` out."]


def test_tells_which_functions_are_called() -> None:
    """Whoever composes the server deploys them."""
    graph = build(with_node("{function: 'shop.tools:price'}"))
    assert function_calls(graph) == {"shop.tools:price"}
    assert function_calls(build(RAG)) == frozenset()


def test_bounds_the_number_of_expressions() -> None:
    """A file of nothing but expressions is refused before they are compiled."""
    items = ", ".join(["'{{ 1 }}'"] * (MAX_EXPRESSIONS + 1))
    assert find_faults(with_node(f"{{template: [{items}]}}"))[0].startswith(
        "1:1: 2002 values have expressions in them; 2000 may."
    )


def test_builds_a_large_workflow() -> None:
    """Hundreds of nodes are no trouble."""
    nodes = "".join(f"  n{i}: {{template: '{{{{ n{i - 1}.text }}}} x'}}\n" for i in range(1, 500))
    graph = build(
        f"name: w\nnodes:\n  n0: {{template: x}}\n{nodes}outputs: {{o: '{{{{ n499.text }}}}'}}\n"
    )
    assert len(graph.nodes) == 500


# Whatever is written

_Json = None | bool | int | float | str | list["_Json"] | dict[str, "_Json"]

_WORDS = st.sampled_from(
    [
        "a",
        "b",
        "llama",
        "minilm",
        "w",
        "{{ a.text }}",
        "{{ b }}",
        "x {{ inputs.q }}",
        "{{ item }}",
        "{{",
        "lines",
        "shop.tools:price",
        "os:system",
        "true",
        "failed",
        "cuda",
        "{{ messages }}",
        "{% if a %}",
        "text",
        "q",
        "",
    ]
)
_KEYS = st.sampled_from(
    [
        "name",
        "version",
        "inputs",
        "nodes",
        "outputs",
        "stream",
        "chat",
        "models",
        "model",
        "function",
        "template",
        "workflow",
        "params",
        "foreach",
        "limit",
        "items",
        "when",
        "after",
        "retry",
        "timeout_s",
        "fallback",
        "cache",
        "repeat",
        "priority",
        "device",
        "attempts",
        "on",
        "value",
        "until",
        "max",
        "type",
        "default",
        "a",
        "b",
        "q",
        "prompt",
        "text",
        "description",
        "properties",
        "$ref",
        "pattern",
        "anyOf",
        "loop",
        "a-b",
    ]
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 9)
    | st.floats(-2, 9)
    | _WORDS
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=8,
)


def _check(data: object) -> Graph | None:
    catalog = make_catalog()
    faults: tuple[Fault, ...] = ()
    try:
        return build_graph(
            Document(data=data),
            signature_of=signature_of,
            model_names=catalog.model_names,
            function_modules=catalog.function_modules,
        )
    except InvalidWorkflow as error:
        faults = error.faults
    assert faults
    return None


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.fixed_dictionaries(
        {
            "name": _VALUES,
            "nodes": st.dictionaries(_WORDS | _KEYS, _VALUES, max_size=3),
            "outputs": _VALUES,
        },
        optional={"inputs": _VALUES, "chat": _VALUES, "stream": _VALUES, "models": _VALUES},
    )
    | _VALUES
)
def test_raises_nothing_but_invalid_workflow(data: object) -> None:
    """Whatever the data, there is a graph, or an InvalidWorkflow with faults."""
    _check(data)


def _paths(data: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    below: list[tuple[str | int, ...]] = [path]
    if isinstance(data, dict | list):
        for key in data if isinstance(data, dict) else range(len(data)):
            below += _paths(data[key], (*path, key))
    return below


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.sampled_from([RAG, MULTI_IMAGE]))
def test_survives_any_change_to_a_sound_file(draw: st.DataObject, text: str) -> None:
    """A sound file with one part taken out or replaced is a graph, or has faults."""
    data = load_document(text).data
    path = draw.draw(st.sampled_from(_paths(data)[1:]))
    part = data
    for key in path[:-1]:
        part = cast("dict[str | int, object]", part)[key]
    whole = cast("dict[str | int, object]", part)
    change: Callable[[], object] = draw.draw(
        st.sampled_from(
            [lambda: whole.pop(path[-1]), lambda: whole.update({path[-1]: draw.draw(_VALUES)})]
        )
        if isinstance(whole, dict)
        else st.just(lambda: whole.__setitem__(path[-1], draw.draw(_VALUES)))
    )
    change()
    graph = _check(data)
    if graph is not None:
        assert set(graph.dag.nodes) == set(graph.nodes)
