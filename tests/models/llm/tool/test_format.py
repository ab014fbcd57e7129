"""ToolFormat: known from a chat template, and refused where it cannot be."""

from __future__ import annotations

import pytest
from families import HERMES, TEMPLATES

from torchloom.errors import InvalidInput
from torchloom_models.llm.tool.format import pick_format


@pytest.mark.parametrize("family", TEMPLATES)
def test_is_known_from_the_template(family: str) -> None:
    """Each family's template shows how it writes calls."""
    assert pick_format(None, TEMPLATES[family]).name == family


def test_is_what_the_model_file_says() -> None:
    """`tool_format` goes before what the template shows."""
    assert pick_format("mistral", HERMES).name == "mistral"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (None, "knows no tools"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "knows no tools"),
        ("{{ tools }} <|call|>", "`tool_format:`"),
        ("{{ tools }} [TOOL_CALLS]name[ARGS]{}", "`tool_format:`"),
        ("{{ tools }} <tool_call><function=f>", "`tool_format:`"),
    ],
)
def test_is_refused_where_the_template_shows_none(template: str | None, says: str) -> None:
    """Tools are refused where the model would not hear of them, or its calls not be read."""
    with pytest.raises(InvalidInput, match=says):
        pick_format(None, template)
