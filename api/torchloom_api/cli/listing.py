"""Lists and descriptions that a server gives, read page by page. Knows no command."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from torchloom_api.cli.screen import print_table


if TYPE_CHECKING:
    from torchloom_api.cli.client import Client


#: A JSON object of the server's.
View = Mapping[str, object]


def fetch_all(client: Client, path: str) -> Iterator[View]:
    """Give every item of a paged list."""
    after = None
    while True:
        page = client.get(path, params={"after": after} if after else None)
        assert isinstance(page, Mapping)
        items, after = page["items"], page.get("next")
        assert isinstance(items, list)
        yield from items
        if not after:
            return


def print_names(title: str, names: object) -> None:
    """Print the names and types of a signature's part, one a line; nothing where it is empty."""
    if isinstance(names, Mapping) and names:
        print_table((title, ""), [(f"  {name}", _to_words(names[name])) for name in names])


def _to_words(schema: object) -> str:
    """Write a JSON Schema in few words: `integer, default 3, minimum 1`."""
    if not isinstance(schema, Mapping):
        return ""
    plain = {k: v for k, v in schema.items() if isinstance(v, str | int | float | bool)}
    parts = [str(plain.pop("type", ""))]
    parts += [f"{k} {json.dumps(v)}" for k, v in plain.items() if k != "description"]
    parts.append(str(plain.get("description", "")))
    return ", ".join(part for part in parts if part)
