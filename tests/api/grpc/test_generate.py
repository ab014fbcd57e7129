"""The code of the messages, and whether the messages are those of the protocol."""

from __future__ import annotations

from pathlib import Path

import pytest
from generate_messages import PROTO, generate
from google.protobuf.descriptor import Descriptor
from tritonclient.grpc import service_pb2 as triton

from torchloom_api.grpc.proto import open_inference_pb2 as messages


def test_is_what_the_repository_holds(tmp_path: Path) -> None:
    """The committed code is made of the committed `.proto` files."""
    for file in generate(tmp_path):
        assert (PROTO / file.name).read_text() == file.read_text(), f"{file.name} is out of date"


def _fields(descriptor: Descriptor) -> dict[str, tuple[int, int, bool]]:
    return {
        field.name: (field.number, field.type, field.is_repeated) for field in descriptor.fields
    }


@pytest.mark.parametrize("name", sorted(messages.DESCRIPTOR.message_types_by_name))
def test_has_the_numbers_of_the_protocol(name: str) -> None:
    """Each message's fields are Triton's, by name, number and type, nested ones included."""
    ours = messages.DESCRIPTOR.message_types_by_name[name]
    theirs = triton.DESCRIPTOR.message_types_by_name[name]

    assert _fields(ours).items() <= _fields(theirs).items()
    for nested in ours.nested_types:
        assert _fields(nested).items() <= _fields(theirs.nested_types_by_name[nested.name]).items()


def test_has_the_methods_of_the_protocol() -> None:
    """By name, request and answer."""
    ours = messages.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    theirs = triton.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    known = {m.name: (m.input_type.full_name, m.output_type.full_name) for m in theirs.methods}

    assert ours.full_name == theirs.full_name
    for method in ours.methods:
        found = (method.input_type.full_name, method.output_type.full_name)
        assert known[method.name] == found
