"""Messages of a conversation, as chat templates take them. Knows no template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from torchloom.errors import InvalidInput, nearest


#: Who may speak in a conversation.
ROLES: Final = ("assistant", "developer", "system", "tool", "user")

#: What only one role may say besides `role` and `content`.
_OWN_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "assistant": ("tool_calls",),
    "tool": ("name", "tool_call_id"),
}


def read_message(index: int, entry: object) -> dict[str, object]:
    """Read the message of this number. Raises InvalidInput, with the place."""
    place = f"messages[{index}]"
    if not isinstance(entry, Mapping):
        raise InvalidInput(f"{place} must be an object with 'role' and 'content'.")
    role = entry.get("role")
    known = ("role", "content", *_OWN_KEYS.get(str(role), ()))
    unknown = sorted(str(key) for key in entry if key not in known)
    if unknown:
        raise InvalidInput(
            f"{place} has an unknown key {unknown[0]!r}.{nearest(unknown[0], known)}"
        )
    if role not in ROLES:
        raise InvalidInput(f"{place} has an unknown role {role!r}.{nearest(str(role), ROLES)}")
    calls = _read_calls(f"{place}.tool_calls", entry.get("tool_calls"))
    content = entry.get("content")
    if content is None and calls:
        content = ""
    if not isinstance(content, str):
        kind = type(content).__name__
        raise InvalidInput(f"{place} must have text as its 'content', not {kind}.")
    said: dict[str, object] = {"role": str(role), "content": content}
    if calls:
        said["tool_calls"] = calls
    for key in ("name", "tool_call_id"):
        if entry.get(key) is not None:
            said[key] = str(entry[key])
    return said


def _read_calls(place: str, values: object) -> list[dict[str, object]]:
    if not values:
        return []
    if not isinstance(values, list | tuple):
        raise InvalidInput(f"{place} must be a list of calls.")
    return [_read_call(f"{place}[{number}]", value) for number, value in enumerate(values)]


def _read_call(place: str, value: object) -> dict[str, object]:
    """Read a call: templates take the arguments as an object, where OpenAI has them as text."""
    function = value.get("function") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(function, Mapping):
        message = f'{place} must be {{"id": …, "type": "function", "function": {{…}}}}.'
        raise InvalidInput(message)
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"{place}.function.name must be the name of a function.")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError as error:
            raise InvalidInput(f"{place}.function.arguments is no JSON: {error}.") from None
    if not isinstance(arguments, Mapping):
        raise InvalidInput(f"{place}.function.arguments must be an object, as JSON.")
    call: dict[str, object] = {"id": str(value["id"])} if value.get("id") is not None else {}
    return {**call, "type": "function", "function": {"name": name, "arguments": dict(arguments)}}
