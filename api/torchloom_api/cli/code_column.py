"""CodeColumn: how a model's compiled code stands, in the words of a table. Asks no server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.markup import escape


#: How much of a reason a table shows; `--json` has it all.
_MAX_REASON = 160

#: The headings of `code_rows`.
COLUMNS = ("device", "part", "code", "compiled", "compiling", "not compiled")


def summarise(replicas: object) -> str | None:
    """Sum up the code of all replicas: `compiled`, `compiling 2`, `eager (failed)`.

    None where there is none to compile.
    """
    parts = [part for _, part in _parts(replicas)]
    states = {part["state"] for part in parts}
    num_pending = sum(len(_texts(part["pending"])) for part in parts)
    words = [f"compiling {num_pending}"] if num_pending else []
    words += [state for state in ("compiled", "eager", "none") if state in states]
    failed = " (failed)" if any(_texts(part["failures"]) for part in parts) else ""
    return ", ".join(words) + failed if words else None


def code_rows(replicas: object) -> list[Sequence[object]]:
    """Give a row for each part of each replica."""
    return [
        (
            device,
            part["part"],
            part["state"],
            part["num_compiled"],
            escape("; ".join(_texts(part["pending"]))),
            escape("; ".join(_first_line(reason) for reason in _texts(part["failures"]))),
        )
        for device, part in _parts(replicas)
    ]


def _parts(replicas: object) -> Iterable[tuple[object, Mapping[str, object]]]:
    """Go through the parts, each with its device; a server of another version may tell none."""
    for replica in replicas if isinstance(replicas, list) else ():
        for part in replica.get("code", ()):
            yield replica["device"], part


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _first_line(reason: str) -> str:
    line = reason.partition("\n")[0]
    return line if len(line) <= _MAX_REASON else line[: _MAX_REASON - 1] + "…"
