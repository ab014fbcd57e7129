"""What an archive says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from model_fakes.archives import manifest_of

from torchloom.errors import InvalidModel
from torchloom_models.archive.manifest import Manifest


def test_reads_every_key() -> None:
    """Each key that a server looks at has its place; handlers are shown the document itself."""
    text = manifest_of(
        "resnet-18",
        "image_classifier",
        modelVersion="2.1",
        serializedFile="resnet.pt",
        modelFile="model.py",
        requirementsFile="requirements.txt",
        configFile="model-config.yaml",
        envelope="kserve",
        extensions="py",
    )
    manifest = Manifest.parse(text.encode(), source="resnet.mar")

    assert (manifest.name, manifest.version) == ("resnet-18", "2.1")
    assert manifest.handler == "image_classifier"
    assert (manifest.serialized_file, manifest.model_file) == ("resnet.pt", "model.py")
    assert manifest.requirements_file == "requirements.txt"
    assert manifest.config_file == "model-config.yaml"
    assert manifest.envelope == "kserve"
    assert manifest.document == json.loads(text)


def test_needs_a_name_and_a_handler_alone() -> None:
    """All else has TorchServe's default."""
    text = b'{"model": {"modelName": "m", "handler": "h.py", "serializedFile": ""}}'
    manifest = Manifest.parse(text, source="m.mar")

    assert (manifest.version, manifest.runtime) == ("1.0", "python")
    assert manifest.serialized_file is None


@pytest.mark.parametrize("key", ["modelName", "handler"])
def test_says_what_is_missing(key: str) -> None:
    """The message names the key, the archive and what to do."""
    model = {"modelName": "m", "handler": "h.py"}
    del model[key]

    with pytest.raises(InvalidModel, match=rf"Missing {key} entry.*'m.mar'.*archiver"):
        Manifest.parse(json.dumps({"model": model}).encode(), source="m.mar")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"\xff\xfe", b'{"model": []}', b'{"model": {"handler": 3}}']
)
def test_refuses_what_is_no_manifest(text: bytes) -> None:
    """Whatever lies there is told, and not tripped over."""
    with pytest.raises(InvalidModel, match=r"Failed to parse the manifest of 'm.mar'"):
        Manifest.parse(text, source="m.mar")


@pytest.mark.parametrize("file", ["my-net.v2.tar.gz", "my-net.v2.mar", "my-net.v2"])
def test_makes_one_up_where_there_is_none(file: str) -> None:
    """The name is the file's, as a word; the version 1.0; the handler is told from outside."""
    manifest = Manifest.without_file(Path("/store") / file, handler="h.py")

    assert (manifest.name, manifest.version, manifest.handler) == ("my_net_v2", "1.0", "h.py")
    assert manifest.document["model"] == {
        "modelName": "my_net_v2",
        "modelVersion": "1.0",
        "handler": "h.py",
    }


def test_needs_a_handler_where_there_is_no_manifest() -> None:
    """Without either, nobody knows what to call."""
    with pytest.raises(InvalidModel, match="the key `handler`"):
        Manifest.without_file(Path("m.mar"), handler=None)
