"""CallParser: the same calls and text wherever an answer is cut."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from families import TEMPLATES

from torchloom_models.llm.tool.call_parser import CallParser
from torchloom_models.llm.tool.format import pick_format


NAMES = frozenset({"f", "get_weather"})

ARGUMENTS = '{"place": "São \\"P\\" {[", "days": [1, {"a": null}]}'


def _read(
    family: str, pieces: Iterable[str], *, is_single: bool = False
) -> tuple[str, list[tuple[str, str]], list[dict[str, object]]]:
    """Give text, calls (name and arguments) and chunks of an answer that comes in pieces."""
    parser = CallParser(pick_format(family, TEMPLATES[family]), NAMES, is_single=is_single)
    chunks = [chunk for piece in pieces for chunk in parser.push(piece)]
    chunks += parser.finish()
    return parser.text, [(call.name, call.arguments) for call in parser.calls], chunks


def _gather(chunks: list[dict[str, object]]) -> tuple[str, list[tuple[str, str]]]:
    """Put chunks together as a client does."""
    text, calls, ids = "", [], []
    for chunk in chunks:
        text += chunk.get("text", "")
        for delta in chunk.get("tool_calls", []):
            if "id" in delta:
                assert delta["index"] == len(calls)
                assert delta["type"] == "function"
                calls.append([delta["function"]["name"], ""])
                ids.append(delta["id"])
            calls[delta["index"]][1] += delta["function"].get("arguments", "")
    assert len(set(ids)) == len(ids)
    return text, [(name, arguments) for name, arguments in calls]


CASES = {
    "hermes": [
        ("hello", "hello", []),
        ("a < b <tool", "a < b <tool", []),
        (
            f'I look.\n<tool_call>\n{{"name": "f", "arguments": {ARGUMENTS}}}\n</tool_call>',
            "I look.",
            [("f", ARGUMENTS)],
        ),
        (
            (
                '<tool_call>{"arguments": {"a": 1}, "name": "f"}</tool_call>\n'
                '<tool_call>{"name":"get_weather","arguments":"{\\"b\\": 2}"}</tool_call> Done. '
            ),
            "Done. ",
            [("f", '{"a": 1}'), ("get_weather", '{"b": 2}')],
        ),
        ('<tool_call>\n{"name": "other"}\n</tool_call>', "", [("other", "{}")]),
        ("<tool_call>f(1)</tool_call>", "<tool_call>f(1)</tool_call>", []),
        ('<tool_call>{"nam": "f"}</tool_call>!', '<tool_call>{"nam": "f"}</tool_call>!', []),
        ('<tool_call>{"name": 7}', '<tool_call>{"name": 7}', []),
        ('<tool_call>{"name": "f", "arguments": {"a": "b', "", [("f", '{"a": "b')]),
        ('<tool_call>{"name": "f', '<tool_call>{"name": "f', []),
    ],
    "llama3_json": [
        ("It is {warm}.", "It is {warm}.", []),
        (f'{{"name": "f", "parameters": {ARGUMENTS}}}', "", [("f", ARGUMENTS)]),
        (
            (
                ' <|python_tag|>{"type": "function", "name": "f", "parameters": {}}; '
                '{"name": "get_weather", "arguments": {"a": [1]}}'
            ),
            "",
            [("f", "{}"), ("get_weather", '{"a": [1]}')],
        ),
        ('{"name": "f", "parameters": {}} So.', "So.", [("f", "{}")]),
        ('{"name": "f"}{"nome": 1}', '{"nome": 1}', [("f", "{}")]),
        ('{"name": "Bo", "parameters": {}}', '{"name": "Bo", "parameters": {}}', []),
        ('{"age": 7}', '{"age": 7}', []),
        ("{}", "{}", []),
        ("<|python_tag|>print(1)", "<|python_tag|>print(1)", []),
    ],
    "mistral": [
        ("[1] is a note.", "[1] is a note.", []),
        (
            (
                f'[TOOL_CALLS] [{{"name": "f", "arguments": {ARGUMENTS}, "id": "abcdefghi"}}, '
                '{"name": "get_weather", "arguments": {}}]'
            ),
            "",
            [("f", ARGUMENTS), ("get_weather", "{}")],
        ),
        ("[TOOL_CALLS] none", "[TOOL_CALLS] none", []),
    ],
}


@pytest.mark.parametrize(
    ("family", "answer", "text", "calls"),
    [(family, *case) for family, cases in CASES.items() for case in cases],
)
def test_reads_the_same_wherever_it_is_cut(
    family: str, answer: str, text: str, calls: list[tuple[str, str]]
) -> None:
    """Whole, cut at each place, and letter by letter; chunks add up to what there is in the end."""
    cuts = [[answer], list(answer), *([answer[:n], answer[n:]] for n in range(1, len(answer)))]
    for pieces in cuts:
        said, found, chunks = _read(family, pieces)
        assert (said, found) == (text, calls), pieces
        assert _gather(chunks) == (text, calls), pieces


def test_tells_arguments_as_they_come() -> None:
    """The name is told before the arguments, and these before their end."""
    parser = CallParser(pick_format("hermes", TEMPLATES["hermes"]), NAMES, is_single=False)
    parser.push("<tool_call>\n")

    assert parser.push('{"name": "f"') == []
    (begun,) = parser.push(', "arguments": {"a"')
    (more,) = parser.push(": 12")

    assert isinstance(begun["tool_calls"], list)
    assert begun["tool_calls"][0]["function"] == {"name": "f", "arguments": ""}
    assert begun["tool_calls"][1]["function"] == {"arguments": '{"a"'}
    assert more == {"tool_calls": [{"index": 0, "function": {"arguments": ": 12"}}]}


@pytest.mark.parametrize("family", CASES)
def test_ends_with_the_first_call_where_there_may_be_one(family: str) -> None:
    """What follows on the only call that may be is left out."""
    answers = [case for case in CASES[family] if len(case[2]) == 2]
    for answer, _, calls in answers:
        for pieces in ([answer], list(answer)):
            said, found, _ = _read(family, pieces, is_single=True)
            assert (said, found) == ("", calls[:1])


def test_gives_ids_as_the_family_has_them() -> None:
    """Mistral's templates take ids of nine letters alone."""
    ids = {pick_format("mistral", TEMPLATES["mistral"]).make_id() for _ in range(20)}

    assert len(ids) == 20
    assert all(len(each) == 9 and each.isalnum() for each in ids)
    assert pick_format("hermes", TEMPLATES["hermes"]).make_id().startswith("call_")
    assert json.loads(ARGUMENTS)
