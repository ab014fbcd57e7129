"""What is known and not served."""

from __future__ import annotations

import pytest

from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.unserved_field import (
    CHAT,
    COMPLETION,
    MESSAGE,
    PICTURE,
    RERANK,
    RESPONSE,
    TEXT,
    Table,
    refuse_unserved,
)


TABLES = [CHAT, COMPLETION, MESSAGE, PICTURE, RERANK, RESPONSE, TEXT]


@pytest.mark.parametrize("table", TABLES)
def test_lets_pass_what_asks_for_nothing(table: Table) -> None:
    """Null, and the values that stand in the table, alone; fields of no table are not looked at."""
    refused = []
    for name, neutral in {**table, "blue": ()}.items():
        for value in (None, *neutral, "odd"):
            try:
                refuse_unserved({name: value}, table)
            except InvalidRequest as error:
                refused.append((error.param, value))

    assert refused == [(name, "odd") for name in table]


@pytest.mark.parametrize(
    ("value", "asks"),
    [
        ({"effort": None, "summary": None}, False),
        ({"effort": "none", "summary": None}, False),
        ({"effort": "low", "summary": None}, True),
        ({"effort": None, "summary": "auto"}, True),
    ],
)
def test_looks_into_objects(value: object, *, asks: bool) -> None:
    """Some clients send every key: those that are null ask for nothing."""
    refused = []
    try:
        refuse_unserved({"reasoning": value}, RESPONSE)
    except InvalidRequest as error:
        refused.append(error.param)

    assert refused == ["reasoning"] * asks


@pytest.mark.parametrize("value", [True, 0, "", [], {}])
def test_takes_no_other_value_for_false(value: object) -> None:
    """False alone asks for nothing: 0 and what is empty are refused, as JSON tells them apart."""
    with pytest.raises(InvalidRequest, match="'store' other than False is not served"):
        refuse_unserved({"store": value}, CHAT)


def test_names_the_place() -> None:
    """The field is named with the place that it stands in."""
    with pytest.raises(InvalidRequest) as refused:
        refuse_unserved({"functions": [{}]}, CHAT, "messages[0].")

    assert refused.value.param == "messages[0].functions"
    assert refused.value.code == "unsupported_parameter"
