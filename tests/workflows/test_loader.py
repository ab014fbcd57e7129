"""Loader: text to a Document."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workflow_fakes.files import MULTI_IMAGE, RAG

from torchloom.errors import InvalidModel, InvalidWorkflow
from torchloom_workflows.loader import Limits, load_document


def _faults(text: str | bytes, limits: Limits | None = None) -> list[str]:
    with pytest.raises(InvalidWorkflow) as caught:
        load_document(text, "f.yaml", limits=limits)
    return [str(fault) for fault in caught.value.faults]


def test_gives_the_place_of_each_key_and_value() -> None:
    """Every value has a mark, and every key one of its own, by JSON pointer."""
    document = load_document("a:\n  b/c: [1, x]\n", "f.yaml")
    assert document.data == {"a": {"b/c": [1, "x"]}}
    assert document.marks == {
        "": (1, 1),
        "/a": (2, 3),
        "/a/b~1c": (2, 8),
        "/a/b~1c/0": (2, 9),
        "/a/b~1c/1": (2, 12),
    }
    assert document.key_marks == {"/a": (1, 1), "/a/b~1c": (2, 3)}
    assert str(document.fault("odd", "a", "b/c", 1)) == "f.yaml:2:12: odd"


@pytest.mark.parametrize("text", [RAG, MULTI_IMAGE])
def test_reads_yaml_and_its_json_alike(text: str) -> None:
    """JSON of the same data gives the same document."""
    data = load_document(text).data
    assert load_document(json.dumps(data)).data == data
    assert load_document(json.dumps(data, indent="\t").encode()).data == data


def test_keeps_on_as_a_key() -> None:
    """`on` and `yes` are words, not booleans."""
    assert load_document("retry: {on: [failed], yes: no}").data == {
        "retry": {"on": ["failed"], "yes": "no"}
    }


def test_reads_a_byte_order_mark_over() -> None:
    """A byte order mark is no part of the text."""
    assert load_document(b"\xef\xbb\xbfa: 1").data == {"a": 1}
    assert load_document("\ufeffa: 1").data == {"a": 1}


@pytest.mark.parametrize("text", ["", "  \n", "# only a comment\n", b""])
def test_refuses_an_empty_text(text: str | bytes) -> None:
    """A text without a value is no document."""
    assert _faults(text) == ["f.yaml: The document is empty."]


def test_finds_every_fault_of_a_text_that_can_be_read() -> None:
    """Keys and values that cannot be used are all told at once."""
    text = "1: a\ntrue: b\n~: c\n[x]: d\nok: .inf\nok: !!set {}\n<<: {}\n"
    assert _faults(text) == [
        "f.yaml:1:1: A key must be a string: quote it as '1'.",
        "f.yaml:2:1: A key must be a string: quote it as 'true'.",
        "f.yaml:3:1: A key must be a string: quote it as 'null'.",
        "f.yaml:4:1: A key must be a plain string, not a list, a mapping or an alias.",
        "f.yaml:5:5: .inf is not a finite number. Quote it if it is meant as text.",
        "f.yaml:6:1: The key 'ok' stands here twice. Remove one of them.",
        "f.yaml:6:5: Tags such as 'tag:yaml.org,2002:set' are not read. Write the plain value.",
        "f.yaml:7:1: Merge keys ('<<') are not read. Write the keys out.",
    ]


def test_goes_on_after_a_key_that_is_a_mapping() -> None:
    """What stands as a key and cannot be one is read over, with all that is in it."""
    assert _faults("? {a: {b: [1]}, c: 2}\n: x\n1: y\n") == [
        "f.yaml:1:3: A key must be a plain string, not a list, a mapping or an alias.",
        "f.yaml:3:1: A key must be a string: quote it as '1'.",
    ]


def test_tells_earlier_faults_with_an_error_of_syntax() -> None:
    """An error of syntax ends the reading, and what was found before is told with it."""
    first, last = _faults("1: a\nb: 'c\n")
    assert first.startswith("f.yaml:1:1: A key")
    assert last.startswith("f.yaml:3:1: This is not YAML")


def test_refuses_a_second_document() -> None:
    """One file holds one document."""
    assert _faults("a: 1\n---\nb: 2\n")[0].startswith("f.yaml:2:1: A second document")


def test_refuses_duplicate_keys_in_json() -> None:
    """JSON's silent last-one-wins is refused as in YAML."""
    assert _faults('{"a": 1, "a": 2}') == [
        "f.yaml:1:10: The key 'a' stands here twice. Remove one of them."
    ]


def test_names_the_document_in_its_error() -> None:
    """The message counts the faults, and names the file where there is one."""
    with pytest.raises(InvalidWorkflow, match=r"^f\.yaml cannot be read: a fault\.$"):
        load_document("", "f.yaml")
    with pytest.raises(InvalidModel, match=r"^The document cannot be read: 2 faults\.$"):
        load_document("1: a\n2: b", error=InvalidModel)


# Limits


def test_refuses_text_that_is_too_long() -> None:
    """Length counts in bytes of UTF-8, before anything is read."""
    limits = Limits(max_bytes=8)
    assert load_document("a: üü", limits=limits).data == {"a": "üü"}
    assert _faults("a: üüü", limits) == ["f.yaml: 9 bytes are too many; 8 are allowed."]
    assert _faults(b"a: 1234567", limits) == ["f.yaml: 10 bytes are too many; 8 are allowed."]


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 1000, '{"a":' * 1000])
def test_stops_at_its_depth(text: str) -> None:
    """Nesting is cut at the limit, long before it could exhaust anything."""
    assert _faults(text)[-1].endswith("Nested deeper than 32 levels.")


def test_counts_depth_through_aliases() -> None:
    """Aliases cannot nest deeper than brackets may."""
    text = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60))
    assert _faults(text) == ["f.yaml:31:12: Nested deeper than 32 levels."]


def test_counts_values_through_aliases() -> None:
    """A billion laughs are more values than a file may hold."""
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for n in range(1, 10):
        text += f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n"
    assert _faults(text)[-1].endswith("More than 20000 values, aliases counted each time.")


def test_repeats_a_value_by_its_alias() -> None:
    """Within the limits an alias gives what its anchor holds."""
    assert load_document("a: &x {b: [1]}\nc: *x\nd: [*x]").data == {
        "a": {"b": [1]},
        "c": {"b": [1]},
        "d": [{"b": [1]}],
    }


def test_refuses_aliases_of_nothing_and_of_themselves() -> None:
    """An alias must name a finished value above it."""
    assert _faults("a: *x\nb: &y [*y]\n") == [
        "f.yaml:1:4: The alias '*x' names nothing above it.",
        "f.yaml:2:8: The alias '*y' stands inside of what it names.",
    ]


def test_stops_at_its_number_of_faults() -> None:
    """A text of nothing but faults does not make an endless answer."""
    assert len(_faults("\n".join(f"{n}: x" for n in range(500)))) == 100


@pytest.mark.parametrize("text", [b"a: \xff", b"a\nb: \xc3("])
def test_refuses_what_is_no_utf_8(text: bytes) -> None:
    """Bytes that are no UTF-8 are refused, with their line."""
    line = text.count(b"\n") + 1
    assert _faults(text) == [f"f.yaml:{line}: The text is not UTF-8."]


def test_refuses_half_a_surrogate_pair() -> None:
    """A lone surrogate could not be written out again."""
    assert _faults("a: \ud800") == [
        "f.yaml: The text holds half of a surrogate pair, which is no character."
    ]


_YAML_PIECES = st.sampled_from(
    [
        "a",
        "b: ",
        "- ",
        "\n",
        "  ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ": ",
        "? ",
        "&x ",
        "*x ",
        "!t ",
        "|\n",
        ">",
        "'",
        '"',
        "#",
        "%",
        "---",
        "\t",
        "~",
        "1",
        ".inf",
        "\\u",
        "ü",
        "\x00",
        "�",
        "{{ x }}",
        "<<: ",
        "null",
    ]
)


@given(
    st.lists(_YAML_PIECES, max_size=30).map("".join) | st.text(max_size=60) | st.binary(max_size=60)
)
def test_raises_nothing_but_invalid_workflow(text: str | bytes) -> None:
    """Whatever the text, there is a document, or an InvalidWorkflow with at least one fault."""
    is_answered = True
    data = None
    try:
        data = load_document(text).data
    except InvalidWorkflow as error:
        is_answered = bool(error.faults)
    assert is_answered
    json.dumps(data, allow_nan=False).encode()
