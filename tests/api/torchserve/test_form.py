"""Fields of forms, as handlers find them."""

from __future__ import annotations

import pytest

from torchloom_api.torchserve.form import Form, read_form
from torchloom_api.torchserve.frontend_error import FrontendError
from torchloom_api.torchserve.request import Request


def _read(body: bytes, media_type: str) -> Form:
    headers = {"content-type": media_type}
    request = Request(
        method="POST",
        path="/predictions/noop",
        segments=("predictions", "noop"),
        query=(),
        headers=headers,
        body=body,
        id="1",
    )
    return read_form(request, with_query=False, is_decoded=True)


def _read_parts(*heads: str) -> Form:
    """Read a form of parts with these heads, all of which hold `1`."""
    parts = "".join(f"--b\r\n{head}\r\n\r\n1\r\n" for head in heads)
    return _read(f"{parts}--b--\r\n".encode(), "multipart/form-data; boundary=b")


def _read_line(line: str) -> Form:
    return _read(line.encode(), "application/x-www-form-urlencoded")


@pytest.mark.parametrize("filename", ["a.bin", ""])
def test_takes_a_file_that_does_not_say_what_it_is_for_bytes(filename: str) -> None:
    """Whether it has a name or not."""
    head = f'Content-Disposition: form-data; name="a"; filename="{filename}"'
    silent, speaking = _read_parts(head), _read_parts(f"{head}\r\nContent-Type: text/plain")

    assert (silent.fields, silent.content_types) == (
        {"a": b"1"},
        {"a": "application/octet-stream"},
    )
    assert (speaking.fields, speaking.content_types) == ({"a": "1"}, {"a": "text/plain"})


def test_takes_a_field_for_bytes_whatever_it_says() -> None:
    """It has no media type."""
    head = 'Content-Disposition: form-data; name="a"\r\nContent-Type: application/json'
    form = _read_parts(head)

    assert (form.fields, form.content_types) == ({"a": b"1"}, {"a": ""})


def test_tells_names_without_blanks_around() -> None:
    """In one line, and in either kind of form."""
    parts = _read_parts('Content-Disposition: form-data; name=" a\tb "')

    assert parts.fields == {"a b": b"1"}
    assert _read_line("+%0Aa%0D%09b+=1").fields == {"a  b": b"1"}


@pytest.mark.parametrize(
    "head",
    [
        'Content-Disposition: form-data; name=""',
        "Content-Disposition: form-data; name=",
        'Content-Disposition: form-data; name=" "',
        'Content-Disposition: form-data; name=""; filename="a.json"',
        'Content-Disposition: form-data; filename="a.json"',
        "Content-Disposition: form-data",
    ],
)
def test_refuses_a_part_without_a_name(head: str) -> None:
    """As TorchServe, but not as a fault of the server."""
    with pytest.raises(FrontendError, match=r"^A field of the form has no name\.$") as raised:
        _read_parts('Content-Disposition: form-data; name="a"', head)

    assert raised.value.status == 400


@pytest.mark.parametrize("line", ["a=1&=2", "=", "a=1&+=2", "%0A=1"])
def test_refuses_a_urlencoded_field_without_a_name(line: str) -> None:
    """The same."""
    with pytest.raises(FrontendError, match=r"^A field of the form has no name\.$"):
        _read_line(line)


@pytest.mark.parametrize("line", ["a=1&", "&a=1", "&&a=1"])
def test_passes_over_nothing_between_fields(line: str) -> None:
    """What is empty is no field."""
    assert _read_line(line).fields == {"a": b"1"}
