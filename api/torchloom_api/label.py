"""Labels: a name, or a name with a version, as it stands in a path (`rag`, `rag@2`)."""

from __future__ import annotations

from torchloom_api.errors import BadRequest


#: No version has more digits; int() need not look at longer ones.
_MAX_DIGITS = 9


def split_label(label: str) -> tuple[str, int | None]:
    """Give name and version; no version means: the one that the traffic split picks."""
    name, at, version = label.partition("@")
    if not at:
        return name, None
    if not (version.isascii() and version.isdigit() and len(version) <= _MAX_DIGITS):
        message = f"{label!r}: a version is a whole number, as in 'rag@2'."
        raise BadRequest(message)
    return name, int(version)
