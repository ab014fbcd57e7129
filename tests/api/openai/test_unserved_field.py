"""What is known and not served."""

from __future__ import annotations

import pytest

from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.unserved_field import CHAT, refuse_unserved


def test_lets_pass_what_asks_for_nothing() -> None:
    """Null, and the values that stand in the table."""
    refuse_unserved({"audio": None, "store": False, "function_call": "none", "blue": 1}, CHAT)


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
