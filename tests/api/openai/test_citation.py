"""Citations from what workflows give as `sources`."""

from __future__ import annotations

import msgspec
import pytest

from torchloom_api.openai.citation import ChatAnnotation, TextAnnotation, to_citations


PASSAGE = {"id": "p1", "text": "It rains.", "score": 0.5, "metadata": {"source": "sky.md"}}


def to_json(value: object) -> object:
    """Write it, and read that."""
    return msgspec.json.decode(msgspec.json.encode(value))


def test_cites_a_passage_of_an_index() -> None:
    """Its file is its address, unless it says better; text and score go along."""
    (citation,) = to_citations([PASSAGE], 7)
    expected = {
        "start_index": 0,
        "end_index": 7,
        "title": "sky.md",
        "url": "sky.md",
        "content": "It rains.",
        "score": 0.5,
    }

    assert to_json(citation) == expected
    assert to_json(ChatAnnotation(url_citation=citation)) == {
        "type": "url_citation",
        "url_citation": expected,
    }
    assert to_json(TextAnnotation.of(citation)) == {"type": "url_citation", **expected}


@pytest.mark.parametrize(
    ("source", "url", "title"),
    [
        ({"url": "http://a", "title": "A", "metadata": {"url": "http://b"}}, "http://a", "A"),
        ({"id": "p", "metadata": {"url": "http://b", "title": "B"}}, "http://b", "B"),
        ({"id": "p", "metadata": {"source": "c.md", "title": 3}}, "c.md", "c.md"),
        ({"id": "p", "metadata": None}, "p", "p"),
        ("http://d", "http://d", "http://d"),
        ({"id": "", "text": "x"}, "#2", "#2"),
        (7, "#2", "#2"),
    ],
)
def test_names_a_source(source: object, url: str, title: str) -> None:
    """By its address, its file, its id, or its number."""
    citation = to_citations(["first", source], 1)[1]
    assert (citation.url, citation.title) == (url, title)


@pytest.mark.parametrize("sources", [None, "x", {}, 3, []])
def test_cites_nothing_where_there_is_no_list(sources: object) -> None:
    """An output that was skipped is null."""
    assert to_citations(sources, 3) == ()
