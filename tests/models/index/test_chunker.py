"""Texts are cut where a reader would cut them, and nothing is lost."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchloom.errors import InvalidInput
from torchloom_models.index.chunker import (
    Chunk,
    Chunker,
    ChunkPolicy,
    split_front_matter,
    token_length,
)


HANDBOOK = """\
# Leave

Everyone has 28 days.

## Parental *leave* `now`

Twelve weeks.
Paid in full.

- one
- two

### How to ask

Write to HR.

Other title
===========

Done.
"""


def cut(text: str, **sizes: int) -> list[Chunk]:
    """Cut Markdown by a policy."""
    return list(Chunker(ChunkPolicy(**sizes)).cut_markdown(text))  # type: ignore[arg-type]  # sizes


def test_makes_one_passage_a_paragraph_with_its_headings() -> None:
    """Headings become title and section; lines are those of the file."""
    assert cut(HANDBOOK) == [
        Chunk(text="Everyone has 28 days.", title="Leave", line=3),
        Chunk(
            text="Twelve weeks.\nPaid in full.", title="Leave", section="Parental leave now", line=7
        ),
        Chunk(text="- one\n- two", title="Leave", section="Parental leave now", line=10),
        Chunk(
            text="Write to HR.",
            title="Leave",
            section="Parental leave now > How to ask",
            line=15,
        ),
        Chunk(text="Done.", title="Other title", line=20),
    ]


def test_joins_short_paragraphs_of_one_section_only() -> None:
    """A run ends when it is long enough, when the next does not fit, and at each heading."""
    text = "# A\n\none\n\ntwo\n\nthree\n\n# B\n\nfour\n\nfive"
    joined = [chunk.text for chunk in cut(text, min_size=8, max_size=20)]
    assert joined == ["one\n\ntwo", "three", "four\n\nfive"]
    tight = [chunk.text for chunk in cut(text, min_size=8, max_size=8, overlap=0)]
    assert tight == ["one\n\ntwo", "three", "four", "five"]


def test_cuts_a_long_paragraph_at_sentence_ends_with_overlap() -> None:
    """No piece is too long, each is whole sentences, and neighbours share one."""
    sentences = [f"This is the sentence of number {number}." for number in range(20)]
    chunks = cut("# T\n\n" + " ".join(sentences), max_size=120, overlap=45)
    assert len(chunks) > 5
    for one, two in pairwise(chunks):
        assert len(two.text) <= 120
        assert two.text.endswith(".")
        assert two.text.startswith("This is")
        assert one.text.rpartition("This")[2] in two.text
    assert all(any(sentence in chunk.text for chunk in chunks) for sentence in sentences)
    assert {chunk.title for chunk in chunks} == {"T"}


def test_cuts_what_has_no_sentence_ends() -> None:
    """One endless word is cut all the same."""
    chunks = cut("x" * 5000, max_size=100, overlap=0)
    assert "".join(chunk.text for chunk in chunks) == "x" * 5000


def test_cuts_a_huge_paragraph_in_time_that_grows_with_its_length() -> None:
    """A paragraph of many thousand sentences loses no word where its windows meet."""
    words = [f"word{number}" for number in range(20_000)]
    chunks = cut(" ".join(words), max_size=500, overlap=0)
    assert " ".join(chunk.text for chunk in chunks).split() == words
    assert all(len(chunk.text) <= 500 for chunk in chunks)


def test_keeps_code_and_tables_as_they_are() -> None:
    """What looks like a heading inside code is none; blank lines do not cut code."""
    text = "# A\n\n```sh\n# no heading\n\nls\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    code, table = cut(text)
    assert code.text == "```sh\n# no heading\n\nls\n```"
    assert table.text == "| a | b |\n|---|---|\n| 1 | 2 |"


def test_leaves_out_what_nobody_reads() -> None:
    """Comments, rules, empty texts and headings alone are no passages."""
    assert cut("") == cut(" \n\n") == cut("# Only a title\n\n## And more\n") == []
    assert [chunk.text for chunk in cut("<!-- note\n\nto self -->\n\n---\n\nText.")] == ["Text."]


def test_takes_any_line_ending() -> None:
    """Files from any system are cut alike."""
    for ending in ("\n", "\r\n", "\r"):
        chunks = cut("# T\n\nOne.\n\nTwo.\n".replace("\n", ending))
        assert [(chunk.text, chunk.line) for chunk in chunks] == [("One.", 3), ("Two.", 5)]


def test_cuts_plain_text_by_empty_lines() -> None:
    """In plain text # is no heading."""
    chunks = list(Chunker(ChunkPolicy()).cut_plain("# a\nb\n \n\n  c\n\nd"))
    assert [(chunk.text, chunk.line) for chunk in chunks] == [("# a\nb", 1), ("c", 5), ("d", 7)]


@settings(max_examples=150, deadline=None)
@given(
    text=st.text(st.sampled_from("ab é名😀 .!?\n\t#-*>`|<&[]()1\r\x0b\x85\u2028"), max_size=300),
    size=st.integers(1, 60),
)
def test_loses_no_letter_of_any_text(text: str, size: int) -> None:
    """Whatever the text, plain pieces hold all of its letters in order, within the limit."""
    policy = ChunkPolicy(max_size=size, min_size=1, overlap=0)
    pieces = [chunk.text for chunk in Chunker(policy).cut_plain(text)]
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(0 < len(piece) <= size for piece in pieces)
    for chunk in Chunker(policy).cut_markdown(text):
        assert chunk.text.strip()
        assert len(chunk.text) <= size
        assert chunk.text[0] in re.split(r"\r\n|\r|\n", text)[chunk.line - 1]


@pytest.mark.parametrize(
    "sizes", [{"max_size": 10, "min_size": 11}, {"max_size": 10, "overlap": 10}, {"min_size": 0}]
)
def test_refuses_sizes_that_contradict_each_other(sizes: dict[str, int]) -> None:
    """Neither the least size nor the overlap may pass the largest size."""
    with pytest.raises(InvalidInput, match="max_size"):
        ChunkPolicy(**sizes)  # type: ignore[arg-type]  # sizes


def test_counts_tokens_where_it_is_told_to(tmp_path: Path) -> None:
    """With a tokenizer's length, limits are in tokens, without special ones."""
    vocabulary = {"[UNK]": 0, "a": 1, "b": 2}
    tokenizer: dict[str, object] = {
        "version": "1.0",
        "truncation": {
            "direction": "Right",
            "max_length": 2,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(tokenizer))
    length = token_length(file)
    assert length("a b word a") == 4
    policy = ChunkPolicy(max_size=3, overlap=0, unit="tokens")
    pieces = [chunk.text for chunk in Chunker(policy, length).cut_plain("a b a b a b a")]
    assert pieces == ["a b a", "b a b", "a"]


def test_says_when_a_file_is_no_tokenizer(tmp_path: Path) -> None:
    """A missing or broken tokenizer is the caller's fault."""
    with pytest.raises(InvalidInput, match="is no tokenizer"):
        token_length(tmp_path / "none.json")


def test_takes_front_matter_off_and_keeps_line_numbers() -> None:
    """YAML at the start is metadata; the text stays on its lines."""
    metadata, text = split_front_matter("---\ntitle: Leave\ntags: [hr]\n---\n# A\n")
    assert metadata == {"title": "Leave", "tags": ["hr"]}
    assert text == "\n\n\n\n# A\n"


@pytest.mark.parametrize(
    "text",
    [
        "# A\n---\n",
        "---\nno mapping\n---\nx",
        "---\na: [\n---\nx",
        "---\na: 1\n",
        "---\n!!python/object:os.system x\n---\n",
    ],
)
def test_leaves_what_is_no_front_matter(text: str) -> None:
    """Rules, lists, broken and unsafe YAML stay part of the text."""
    assert split_front_matter(text) == ({}, text)
