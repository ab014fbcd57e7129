"""Names of entries of archives."""

from __future__ import annotations

import pytest

from torchloom_models.archive.entry_name import find_fault, is_skipped


@pytest.mark.parametrize("name", ["model.py", "a/b/c.txt", "MAR-INF/MANIFEST.json", "..a", "ünï"])
def test_lets_names_of_files_be(name: str) -> None:
    """A name that stays in its folder is none of our business."""
    assert find_fault(name) is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "no name"),
        (" ", "no name"),
        ("a\x00b", "no name"),
        ("/etc/passwd", "absolute"),
        ("C:/windows", "absolute"),
        ("..\\..\\x", "backslash"),
        ("../x", "leads out"),
        ("a/../../x", "leads out"),
        ("a/" * 40 + "x", "too long"),
        ("x" * 300, "too long"),
        (("y" * 200 + "/") * 6 + "x", "too long"),
    ],
)
def test_refuses_names_that_lead_elsewhere(name: str, fault: str) -> None:
    """Each is refused with its reason."""
    assert fault in (find_fault(name) or "")


def test_leaves_out_what_systems_add() -> None:
    """What a Mac adds by the way is no part of an archive."""
    assert is_skipped("__MACOSX/._model.py")
    assert not is_skipped("model.py")
