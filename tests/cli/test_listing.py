"""Lists of a server, page by page, and schemas in few words."""

from __future__ import annotations

import httpx
import pytest

from torchloom_api.cli.client import Client
from torchloom_api.cli.listing import fetch_all, print_names


def test_follows_every_page() -> None:
    """A list goes on as long as the server names a next item."""
    pages = {
        None: {"items": [{"name": "a"}, {"name": "b"}], "total": 3, "next": "b@1"},
        "b@1": {"items": [{"name": "c"}], "total": 3, "next": None},
    }
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, json=pages[request.url.params.get("after")])
    )
    client = Client("http://server", transport=transport)
    assert [view["name"] for view in fetch_all(client, "/api/models")] == ["a", "b", "c"]


def test_writes_a_schema_in_few_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Type, bounds and default of an input, and what it is for, on one line."""
    print_names("inputs", {"top_k": {"type": "integer", "default": 3, "description": "How many."}})
    assert capsys.readouterr().out.split("\n")[1].split() == [
        "top_k",
        "integer,",
        "default",
        "3,",
        "How",
        "many.",
    ]


def test_leaves_out_what_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    """A signature without params has no heading for them."""
    print_names("params", {})
    assert capsys.readouterr().out == ""
