"""A whole installation to TorchLoom's files, and the notes of what was lost."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest
import yaml

from torchloom.document import Document
from torchloom_api.settings import Settings
from torchloom_api.torchserve.config_loading import load_config
from torchloom_api.torchserve.migration.plan import Plan, make_plan
from torchloom_api.torchserve.migration.writing import CannotMigrate, write_plan
from torchloom_api.torchserve.snapshot import Snapshot
from torchloom_api.torchserve.startup_model import StartupModel
from torchloom_models.spec import parse_model


Make = Callable[..., Path]

VLLM = """\
minWorkers: 1
deviceType: gpu
responseTimeout: 77
asyncCommunication: true
handler:
  model_path: model
  chat_template: chat.jinja
  vllm_engine_config:
    {max_model_len: 250, swap_space: 4, max_loras: 2, served_model_name: llama3}
  adapters: {org/sql: adapters/sql}
"""

SPECIFICATION = "models: {m1: {url: a-1.0.mar}}\ndag: {pre: [m1]}\n"


def _plan(store: Path, text: str = "") -> Plan:
    return make_plan(
        load_config(text), model_store=store, workflow_store=store, target=store.parent / "out"
    )


def _names(plan: Plan) -> set[str]:
    return {str(place) for place in plan.documents}


def _notes(plan: Plan) -> str:
    return "\n".join(map(str, plan.notes))


def test_takes_all_of_a_store(make_model: Make, make_workflow: Make, store: Path) -> None:
    """Without load_models every archive counts; each version has a file of its own."""
    make_model("a")
    make_model("a", "2.0")
    make_model("b", archive_format="no-archive")
    make_workflow("w", SPECIFICATION)
    (store / "notes.txt").write_text("")
    (store / ".hidden").mkdir()
    plan = _plan(store)
    assert _names(plan) == {
        "torchloom.yaml",
        *("models/a-1.yaml", "models/a-2.yaml", "models/b-1.yaml"),
        *("models/w__m1.yaml", "models/w__pre.yaml", "workflows/w.yaml"),
    }


def test_takes_what_the_configuration_loads(make_model: Make, store: Path) -> None:
    """load_models names archives, and models by other names; what is not there is noted."""
    make_model("a")
    make_model("b")
    plan = _plan(store, "load_models=c=a-1.0.mar,gone.mar,https://h/x.mar")
    assert _names(plan) == {"torchloom.yaml", "models/c-1.yaml"}
    assert "gone.mar: left out: it is not in the model store." in _notes(plan)
    assert "https://h/x.mar: left out: download it" in _notes(plan)


def test_takes_what_a_snapshot_holds(make_model: Make, store: Path) -> None:
    """A snapshot is what the server really had, names and workers included."""
    make_model("a")
    make_model("b")
    model = StartupModel(mar_name="a-1.0.mar", default_version=True, min_workers=3, max_workers=3)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    snapshot = Snapshot.take({"other": {"1.0": model}}, moment="startup", now=now)
    plan = _plan(store, snapshot.write({"load_models": "all"}, now=now))
    assert _names(plan) == {"torchloom.yaml", "models/other-1.yaml"}
    document = plan.documents[PurePosixPath("models/other-1.yaml")]
    assert document["replicas"] == {"min": 3, "max": 3}


def test_notes_versions_that_change(make_model: Make, store: Path) -> None:
    """A version that is no whole number gets one; the default version has to be routed to."""
    make_model("a", "1.0")
    make_model("a", "1.5")
    models = {"a": {"1.5": {"marName": "a-1.5.mar", "defaultVersion": True}}}
    plan = _plan(store, f"models={json.dumps(models)}")
    assert plan.documents[PurePosixPath("models/a-2.yaml")]["model_version"] == "1.5"
    assert "a-1.5.mar: its version '1.5' is 2 here" in _notes(plan)
    assert "a-1.5.mar: it was the default version: route calls without" in _notes(plan)


def test_leaves_out_what_cannot_be(make_model: Make, make_workflow: Make, store: Path) -> None:
    """Broken archives, doubles, and workflows that never ran are noted; the rest is done."""
    make_model("a").rename(store / "b.mar")
    make_model("a")
    (store / "broken.mar").write_bytes(b"x")
    make_workflow("loop", "models: {}\ndag: {a: [b], b: [a]}\n")
    make_workflow("bare", "models: {}\ndag: {a: [b]}\n", handler=False)
    plan = _plan(store)
    assert _names(plan) == {"torchloom.yaml", "models/a-1.yaml"}
    notes = _notes(plan)
    assert "b.mar: left out: a-1.0.mar is version 1.0 of 'a' too." in notes
    assert "broken.mar: left out: it cannot be opened" in notes
    assert "loop.war: left out: DAG should have only one start node" in notes
    assert "bare.war: left out: it has no handler that could hold a, b." in notes


@pytest.mark.parametrize("name", ["../../x", "a/b", ""])
def test_lets_no_name_lead_elsewhere(store: Path, name: str) -> None:
    """The name in a manifest becomes a file's: one that leads out of the folder is left out."""
    with zipfile.ZipFile(store / "bad.mar", "w") as archive:
        manifest = {"model": {"modelName": name or "..", "handler": "h.py"}}
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
    plan = _plan(store)
    assert _names(plan) == {"torchloom.yaml"}
    assert "can be no name" in _notes(plan)


def test_writes_settings_that_the_server_takes(store: Path) -> None:
    """Ports and sizes come over; every other key that was given is noted, secrets without value."""
    text = (
        "inference_address=http://0.0.0.0:8085\nmanagement_address=unix:/tmp/a\n"
        "max_request_size=99\n"
        "keystore_pass=geheim\ncors_allowed_origin=*\nio_ratio=50\nenable_model_api=true\n"
    )
    plan = _plan(store, text)
    settings = dict(plan.documents[PurePosixPath("torchloom.yaml")])
    assert settings == {
        "inference": "0.0.0.0:8085",
        "metrics": "127.0.0.1:8082",
        "max_body_bytes": 99,
    }
    assert Settings.load(document=Document(data={**settings, "allow_open": True}))
    notes = _notes(plan)
    assert "`cors_allowed_origin=*` is not carried over" in notes
    assert "`management_address=unix:/tmp/a` is not carried over" in notes
    assert notes.count("io_ratio") == 1
    assert "keystore_pass=…" in notes
    assert "geheim" not in notes


def test_carries_what_the_server_was_told_of_all_models(make_model: Make, store: Path) -> None:
    """Metrics of handlers, times, and whether packages are installed."""
    make_model("a")
    metrics = store.parent / "metrics.yaml"
    metrics.write_text(
        "ts_metrics: {}\nmodel_metrics:\n"
        "  gauge:\n    - {name: Depth, unit: m, dimensions: [ModelName, Place]}\n"
    )
    text = (
        f"metrics_config={metrics}\ninstall_py_dep_per_model=true\n"
        "default_response_timeout=7\ndefault_startup_timeout=9\n"
    )
    plan = _plan(store, text)
    file = plan.documents[PurePosixPath("models/a-1.yaml")]

    assert (file["step_timeout_s"], file["load_timeout_s"]) == (7, 9)
    assert file["metrics"] == [
        {"name": "Depth", "kind": "gauge", "unit": "m", "dimensions": ["ModelName", "Place"]}
    ]
    assert parse_model(Document(data=dict(file)), base=store.parent)
    assert plan.documents[PurePosixPath("torchloom.yaml")]["install_requirements"] is True
    assert _notes(plan) == ""
    metrics.write_text("model_metrics: []\n")
    broken = _plan(store, text)
    assert "metrics" not in broken.documents[PurePosixPath("models/a-1.yaml")]
    assert "no metrics are carried over: The metrics_config" in _notes(broken)


def test_says_where_https_ends(store: Path) -> None:
    """TorchLoom speaks plain HTTP behind a proxy."""
    assert "put a proxy with the certificate there" in _notes(
        _plan(store, "inference_address=https://0.0.0.0")
    )


def test_writes_all_or_nothing(make_model: Make, make_workflow: Make, store: Path) -> None:
    """The new folder holds YAML, unpacked functions and the notes; it is never half there."""
    make_model("a")
    make_workflow("w", SPECIFICATION)
    target = store.parent / "out"
    write_plan(_plan(store), target)
    files = {str(file.relative_to(target)) for file in target.rglob("*") if file.is_file()}
    assert files == {
        *("MIGRATION.md", "torchloom.yaml", "models/a-1.yaml", "models/w__m1.yaml"),
        *("models/w__pre.yaml", "workflows/w.yaml", "workflows/w/h.py", "workflows/w/spec.yaml"),
    }
    function = yaml.safe_load((target / "models/w__pre.yaml").read_text())
    assert function["source"] == str(target / "workflows" / "w")
    assert "## w.war" in (target / "MIGRATION.md").read_text()
    with pytest.raises(CannotMigrate, match="is there already"):
        write_plan(_plan(store), target)


def test_unpacks_nothing_that_leads_elsewhere(make_workflow: Make, store: Path) -> None:
    """A hostile archive is left out; one that becomes it later ends all, and nothing is left."""
    path = make_workflow("w", "models: {}\ndag: {a: [b]}\n")
    plan = _plan(store)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../evil.py", "")
    assert "w.war: left out: its entry '../evil.py' is refused: it leads out" in _notes(
        _plan(store)
    )
    with pytest.raises(CannotMigrate, match="leads elsewhere"):
        write_plan(plan, store.parent / "out")
    assert {each.name for each in store.parent.iterdir()} == {"h.py", "spec.yaml", "store"}


def test_makes_a_language_model_of_an_archive_for_vllm(make_model: Make, store: Path) -> None:
    """Its files are unpacked beside the model file, which leads to them and passes the checks."""
    extra = store.parent / "extra"
    for name in ("model", "adapters/sql"):
        (extra / name).mkdir(parents=True)
        (extra / name / "config.json").write_text("{}")
        (extra / name / "model.safetensors").write_bytes((8).to_bytes(8, "little") + b"{}      ")
    (extra / "chat.jinja").write_text("{{ messages }}")
    make_model("llm", "2.0", VLLM, handler="vllm_handler", extra_files=str(extra))
    plan = _plan(store)
    write_plan(plan, store.parent / "out")
    folder = store.parent / "out" / "models"
    text = (folder / "llm-2.yaml").read_bytes()
    deployment = parse_model(Document(data=yaml.safe_load(text)), base=folder)

    assert yaml.safe_load(text) == {
        "name": "llm",
        "version": 2,
        "kind": "llm",
        "source": "llm-2/model",
        "adapters": {"org-sql": "llm-2/adapters/sql"},
        "max_adapters": 2,
        "max_length": 250,
        "chat_template": "{{ messages }}",
        "devices": ["cuda"],
        "replicas": {"min": 1, "max": 1},
        "queue": {"max_size": 100},
        "load_timeout_s": 120,
        "step_timeout_s": 77,
    }
    assert (Path(str(deployment.config["source"])) / "model.safetensors").is_file()
    notes = _notes(plan)
    assert "for 'llm', which was called 'llama3' below /predictions/llm" in notes
    assert "its adapter 'org/sql' is asked for by `model: llm:org-sql`" in notes
    assert "`vllm_engine_config.swap_space: 4` counts for nothing" in notes
    assert "its handler reads it" not in notes


@pytest.mark.parametrize("archive_format", ["default", "tgz", "no-archive"])
def test_leaves_an_archive_packed_that_holds_no_weights(
    make_model: Make, store: Path, archive_format: str
) -> None:
    """The model is elsewhere: on this machine, or in the hub."""
    config = "handler: {model_path: org/name, vllm_engine_config: {revision: v2}}"
    made = {"handler": "vllm_handler", "archive_format": archive_format}
    make_model("llm", "1.0", config, **made)
    plan = _plan(store)
    file = plan.documents[PurePosixPath("models/llm-1.yaml")]

    assert (file["kind"], file["source"]) == ("llm", "hf://org/name@v2")
    assert plan.models == {}


def test_leaves_out_a_language_model_that_is_none(make_model: Make, store: Path) -> None:
    """With what it lacks; one that brings its own handler is of kind `handler`."""
    make_model("lost", "1.0", "handler: {model_path: a/b/c}", handler="vllm_handler")
    (store.parent / "vllm_handler.py").write_text("")
    own = str(store.parent / "vllm_handler.py")
    make_model("own", "1.0", "minWorkers: 1", handler="vllm_handler", extra_files=own)
    plan = _plan(store)

    assert _names(plan) == {"torchloom.yaml", "models/own-1.yaml"}
    assert plan.documents[PurePosixPath("models/own-1.yaml")]["kind"] == "handler"
    assert "lost-1.0.mar: left out: `handler.model_path: a/b/c`" in _notes(plan)
