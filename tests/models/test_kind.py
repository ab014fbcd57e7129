"""The table of kinds, against the code that it points to and the page that describes it."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest

from torchloom_models.kind import KINDS, Kind
from torchloom_models.spec import COMMON_FIELDS


PAGE = Path(__file__).parents[2] / "docs" / "models.md"

ALL = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))


@ALL
def test_holds_sound_schemas(kind: Kind) -> None:
    """Every schema of a kind is a JSON Schema, and required names are among the known ones."""
    signature = kind.signature
    for table in (signature.inputs, signature.outputs, signature.params, kind.fields):
        for schema in table.values():
            jsonschema_rs.validator_for(dict(schema))
    assert signature.required <= set(signature.inputs)
    assert all(group <= set(signature.inputs) for group in signature.one_of)
    assert kind.required_fields <= set(kind.fields) | set(COMMON_FIELDS)
    assert not set(kind.fields) & set(COMMON_FIELDS)


@ALL
def test_is_described_on_the_page_of_model_files(kind: Kind) -> None:
    """Each key, input, output and parameter is named in docs/models.md, in the kind's section."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.search(rf"^## `{kind.name}`\n(.*?)(^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert section is not None
    signature = kind.signature
    named = [*signature.inputs, *signature.outputs, *signature.params, *kind.fields]

    missing = [name for name in named if not re.search(rf"\b{name}\b", section[1])]

    assert missing == []


def test_describes_the_keys_of_every_kind() -> None:
    """Each common key has its row in docs/models.md."""
    text = PAGE.read_text(encoding="utf-8")

    assert [name for name in COMMON_FIELDS if f"| `{name}` |" not in text] == []


def test_imports_no_framework() -> None:
    """A model file is checked on a machine without torch."""
    program = "import sys, torchloom_models.spec; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@ALL
@pytest.mark.slow
def test_points_to_a_factory(kind: Kind) -> None:
    """What opens a kind's engines can be imported."""
    module, _, name = kind.factory.partition(":")

    assert callable(getattr(importlib.import_module(module), name))
