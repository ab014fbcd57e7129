"""Java's properties files, as `java.util.Properties` describes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchloom_api.torchserve.java_properties import (
    BadProperties,
    read_properties,
    write_properties,
)


def _read(text: str) -> dict[str, str]:
    return {entry.key: entry.value for entry in read_properties(text)}


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("a=b", "a", "b"),
        ("a:b", "a", "b"),
        ("a b", "a", "b"),
        ("a\tb", "a", "b"),
        ("  a  =  b c  ", "a", "b c  "),
        ("a : = b", "a", "= b"),
        ("a", "a", ""),
        ("a=", "a", ""),
        ("=b", "", "b"),
        (r"a\=b=c", "a=b", "c"),
        (r"a\:b\ c=d", "a:b c", "d"),
        (r"a=\ b", "a", " b"),
        (r"a=b\tc\nd\re\ff", "a", "b\tc\nd\re\ff"),
        (r"a=\q\"", "a", 'q"'),
        (r"a=\u00e9\u0041", "a", "éA"),
        (r"a=\ud83d\ude00", "a", "😀"),
        (r"a=C\:\\temp", "a", r"C:\temp"),
        ("a=b\\\n   c", "a", "bc"),
        ("a=b\\\r\n\\\r\n  c", "a", "bc"),
        ("a=b\\", "a", "b"),
        ("a=b\\\\", "a", "b\\"),
        ("a\\\n  b = c", "ab", "c"),
        ("a=b\\\n#c", "a", "b#c"),
        ("a=b#c", "a", "b#c"),
    ],
)
def test_reads_an_entry(text: str, key: str, value: str) -> None:
    """Separators, escapes and continued lines are Java's."""
    assert _read(text) == {key: value}


def test_passes_over_comments_and_empty_lines() -> None:
    """A line that begins with `#` or `!`, after blanks, is none; it cannot be continued."""
    assert _read("# a=1\n  ! b=2 \\\n\n \t\nc=3\r#d\re=4") == {"c": "3", "e": "4"}


def test_tells_the_line_that_an_entry_begins_on() -> None:
    """Continued lines count too."""
    entries = read_properties("#\na=1\\\n2\n\nb=3\nb=4")
    assert [(entry.key, entry.line) for entry in entries] == [("a", 2), ("b", 5), ("b", 6)]


def test_refuses_half_of_an_escape() -> None:
    r"""What is no hex digit cannot follow \u, and the line is told."""
    with pytest.raises(BadProperties, match="Malformed") as caught:
        read_properties("a=1\nb=\\u12g4")
    assert caught.value.line == 2


def test_writes_as_java_does() -> None:
    """Colons, equals signs, newlines and all that is not ASCII are escaped."""
    text = write_properties({"a b": " x y", "url": "http://h:1", "é": "😀\n"}, ["Saving snapshot"])
    assert text == (
        "#Saving snapshot\na\\ b=\\ x y\nurl=http\\://h\\:1\n\\u00E9=\\uD83D\\uDE00\\n\n"
    )


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.text(st.characters(exclude_categories=["Cs"])),
    )
)
def test_reads_whatever_it_has_written(values: dict[str, str]) -> None:
    """Any keys and values survive."""
    assert _read(write_properties(values, ["a comment"])) == values
