"""Documents to deployments and graphs, with the real models and workflows packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom.errors import InvalidInput, InvalidModel, InvalidWorkflow
from torchloom.orchestrator import Orchestrator
from torchloom_api.reader import Reader
from torchloom_api.settings import Settings


FUNCTION = "name: shout\nkind: function\nfunction: api_fakes.functions:shout\n"

LOUD = """
name: loud
inputs: {text: {type: string}}
nodes:
  up: {function: "api_fakes.functions:shout", inputs: {text: "{{ inputs.text }}"}}
  again: {model: own, inputs: {text: "{{ up.text }}"}}
outputs: {said: "{{ again.text }}"}
models:
  own: {kind: function, function: "api_fakes.functions:shout"}
"""


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """Give a reader that allows the functions of the tests."""
    return Reader(Settings(store=str(tmp_path / "store"), functions=("api_fakes",)))


def model(source: str) -> str:
    """Write a model file with a source."""
    return f"name: m\nkind: embedder\nsource: {source!r}\n"


def test_tells_what_the_server_decides(reader: Reader, tmp_path: Path) -> None:
    """Engines are told the allowed modules and where artefacts lie, whatever the file says."""
    deployment = reader.read_model(FUNCTION, None)

    assert deployment.config["functions"] == ["api_fakes"]
    assert deployment.config["artefacts"] == str(tmp_path / "store" / "artefacts")
    assert deployment.config["install_requirements"] is False
    assert deployment.config["archives"] == str(tmp_path / "store" / "archives")


def test_reads_an_operators_path_from_where_the_file_lies(reader: Reader, tmp_path: Path) -> None:
    """A file on the command line may lead anywhere; its paths are its own."""
    file = tmp_path / "models" / "m.yaml"

    for source, place in (("weights", tmp_path / "models/weights"), ("/opt/m", Path("/opt/m"))):
        assert reader.read_model(model(source), file).config["source"] == str(place)


@pytest.mark.parametrize(
    "source",
    [
        "/etc",
        "../../secrets",
        "files/../../x",
        "a/../../../etc/passwd",
        "postgresql://db/x",
        "file:///etc",
        "http://169.254.169.254/x",
        "s3://bucket/x",
    ],
)
def test_lets_no_request_lead_out_of_the_store(reader: Reader, source: str) -> None:
    """Over the network, paths stay in the store and schemes are those that are allowed."""
    with pytest.raises(InvalidModel) as caught:
        reader.read_model(model(source), None)

    assert (caught.value.faults[0].line, caught.value.faults[0].pointer) == (3, "/source")


def test_lets_no_request_follow_a_link_out_of_the_store(reader: Reader, tmp_path: Path) -> None:
    """A symbolic link in the store's folder does not widen it."""
    folder = tmp_path / "store" / "files"
    folder.mkdir(parents=True)
    (folder / "way_out").symlink_to("/etc")
    (folder / "inside").mkdir()

    assert reader.read_model(model("inside"), None).config["source"] == str(folder / "inside")
    with pytest.raises(InvalidModel, match="must lead into 'files'"):
        reader.read_model(model("way_out"), None)


def test_allows_the_schemes_that_the_operator_names(tmp_path: Path) -> None:
    """What may be fetched for a request is a setting."""
    source = "hf://org/name@" + "0" * 40
    open_reader = Reader(Settings(store=str(tmp_path), sources=("hf",)))
    closed_reader = Reader(Settings(store=str(tmp_path), sources=()))

    assert open_reader.read_model(model(source), None).config["source"] == source
    with pytest.raises(InvalidModel, match="with the setting `sources`"):
        closed_reader.read_model(model(source), None)


@pytest.mark.parametrize("source", ["hf://org/name@" + "0" * 40, "package://numpy/core"])
def test_fetches_no_code_because_a_request_says_so(source: str, tmp_path: Path) -> None:
    """Archives run what they hold: only the operator's file may name one from elsewhere."""
    reader = Reader(Settings(store=str(tmp_path)))
    text = model(source).replace("embedder", "handler")

    with pytest.raises(InvalidModel, match="which the operator fills"):
        reader.read_model(text, None)
    assert reader.read_model(text, tmp_path / "m.yaml").config["source"] == source
    inside = reader.read_model(model("a.mar").replace("embedder", "handler"), None)
    assert inside.config["source"] == str(tmp_path / "files" / "a.mar")


def test_brings_models_and_functions_along(reader: Reader) -> None:
    """A workflow's own models, and the functions that its nodes call, come as deployments."""
    draft = reader.read_workflow(LOUD, None, Orchestrator())

    assert [deployment.name for deployment in draft.models] == ["own", "api_fakes.functions:shout"]
    assert {deployment.kind for deployment in draft.models} == {"function"}
    assert draft.graph.source == LOUD


def test_tells_faults_of_models_and_nodes_together(reader: Reader) -> None:
    """Everything that is wrong in a file is told at once, in the order of its lines."""
    text = LOUD.replace("inputs.text", "inputs.txt").replace("kind: function", "kind: functoin")
    with pytest.raises(InvalidWorkflow, match="2 faults") as caught:
        reader.read_workflow(text, None, Orchestrator())

    assert [fault.line for fault in caught.value.faults] == [5, 9]
    assert "Did you mean 'text'?" in caught.value.faults[0].message
    assert "Did you mean 'function'?" in caught.value.faults[1].message


def test_calls_no_function_that_is_not_allowed(reader: Reader) -> None:
    """A request can name functions in the operator's modules alone."""
    with pytest.raises(InvalidWorkflow, match="'os' is not among those"):
        reader.read_workflow(
            LOUD.replace('"api_fakes.functions:shout", inputs', '"os:system", inputs'),
            None,
            Orchestrator(),
        )


def test_lets_no_inline_model_lead_out_of_the_store(reader: Reader) -> None:
    """Models inside of a workflow are bound as others are."""
    text = LOUD.replace(
        '{kind: function, function: "api_fakes.functions:shout"}', "{kind: llm, source: /etc}"
    )
    with pytest.raises(InvalidWorkflow) as caught:
        reader.read_workflow(text, None, Orchestrator())

    assert "/models/own/source" in {fault.pointer for fault in caught.value.faults}


def test_tells_workflows_from_models(reader: Reader) -> None:
    """A file with nodes is a workflow; what is no YAML is neither."""
    assert reader.is_workflow(LOUD.encode(), Path("loud.yaml"))
    assert not reader.is_workflow(FUNCTION.encode(), Path("shout.yaml"))
    with pytest.raises(InvalidWorkflow, match=r"broken\.yaml"):
        reader.is_workflow(b"a: [", Path("broken.yaml"))


@pytest.mark.parametrize("source", ["/etc", "../../x", "hf://org/name@main"])
def test_lets_no_adapter_lead_out_of_the_store(tmp_path: Path, source: str) -> None:
    """In a model file that came over the network, or by itself, where no scheme is allowed."""
    reader = Reader(Settings(store=str(tmp_path / "store"), sources=()))
    text = f"name: m\nkind: llm\nsource: m\nadapters: {{a: {source!r}}}\n"
    with pytest.raises(InvalidModel, match="ver the network"):
        reader.read_model(text, None)
    with pytest.raises(InvalidInput, match="ver the network"):
        reader.read_source(source)


@pytest.mark.parametrize("source", ["/etc", "../../x", "hf://org/name@main"])
def test_lets_no_draft_model_lead_out_of_the_store(tmp_path: Path, source: str) -> None:
    """In a model file that came over the network."""
    reader = Reader(Settings(store=str(tmp_path / "store"), sources=()))
    text = f"name: m\nkind: llm\nsource: m\nspeculation: {{draft: {source!r}}}\n"
    with pytest.raises(InvalidModel, match="ver the network") as caught:
        reader.read_model(text, None)
    assert caught.value.faults[0].pointer == "/speculation/draft"


def test_reads_an_adapters_path_from_the_stores_files(reader: Reader, tmp_path: Path) -> None:
    """And refuses words that are no source."""
    assert reader.read_source("loras/a") == str(tmp_path / "store" / "files" / "loras" / "a")
    with pytest.raises(InvalidInput, match="names no revision"):
        reader.read_source("hf://org/name")
