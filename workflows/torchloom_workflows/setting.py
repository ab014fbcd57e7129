"""Setting: what a node says beside its call and its values: retry, cache, items, device, and so on.

Knows no other node. The shapes have been checked: see `schema.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import regex

from torchloom.device import Device, is_on
from torchloom.document import Document
from torchloom.errors import DeviceUnavailable, Fault, nearest
from torchloom.graph import Items
from torchloom.policy import CachePolicy, RetryPolicy
from torchloom_workflows.call import Target


#: Keys that mean something for some calls only.
_KEYS_OF_CALLS: Mapping[str, tuple[str, ...]] = {
    "params": ("model", "function"),
    "items": ("model", "function"),
    "device": ("model", "function"),
    "priority": ("model", "function", "workflow"),
    "repeat": ("workflow",),
}


def to_mapping(value: object) -> Mapping[str, object]:
    """Give the value if it is a mapping, else an empty one: its fault has been found already."""
    return value if isinstance(value, dict) else {}


def to_names(value: object) -> tuple[str, ...]:
    """Give one name, or several, as several."""
    if isinstance(value, str):
        return (value,)
    return tuple(str(name) for name in value) if isinstance(value, list) else ()


def to_number(value: object) -> float | None:
    """Give a number of seconds."""
    return float(value) if isinstance(value, int | float) else None


def to_retry(sound: Mapping[str, object]) -> RetryPolicy:
    """Give the retry policy."""
    written = dict(to_mapping(sound.get("retry")))
    if "on" in written:
        written["on"] = to_names(written["on"])
    return RetryPolicy(**written)  # type: ignore[arg-type]  # the shape has been checked


def to_cache(sound: Mapping[str, object]) -> CachePolicy | None:
    """Give the cache policy, or None where nothing is kept."""
    cache = sound.get("cache")
    if isinstance(cache, dict):
        return CachePolicy(**cache)
    return CachePolicy() if cache else None


def to_items(sound: Mapping[str, object]) -> Items | None:
    """Give how a stream of text is cut."""
    match sound.get("items"):
        case "lines":
            return Items("lines")
        case "json":
            return Items("json")
        case str() as pattern:
            return Items("regex", pattern)
    return None


def check_settings(
    document: Document, sound: Mapping[str, object], target: Target
) -> Iterator[Fault]:
    """Find settings that mean nothing here, or cannot be used."""
    for key, kinds in _KEYS_OF_CALLS.items():
        if key in sound and target.kind and target.kind not in kinds:
            of = " or a ".join(kinds)
            message = f"{key!r} means nothing for a {target.kind}, only for a {of}."
            yield document.fault(message, key, at_key=True)
    if "limit" in sound and "foreach" not in to_mapping(document.data):
        yield document.fault("'limit' means nothing without 'foreach'.", "limit", at_key=True)
    yield from _check_items(document, sound, target)
    if "device" in sound:
        yield from _check_device(document, str(sound["device"]), target)


def _check_device(document: Document, hint: str, target: Target) -> Iterator[Fault]:
    try:
        device = Device.parse(hint)
    except DeviceUnavailable as bad:
        yield document.fault(bad.message, "device")
        return
    if device.kind == "auto":
        message = "'auto' is no hint: leave `device` out, and the task runs wherever there is room."
        yield document.fault(message, "device")
    elif target.devices is not None and not any(is_on(hint, each) for each in target.devices):
        there = ", ".join(target.devices)
        message = f"{target.title} does not run on {hint!r}; it runs on: {there}."
        yield document.fault(message, "device")


def _check_items(
    document: Document, sound: Mapping[str, object], target: Target
) -> Iterator[Fault]:
    items = to_items(sound)
    if items is None:
        return
    if not target.may_give_more and "text" not in target.outputs:
        message = f"{target.title} gives no `text` that could be cut into items."
        yield document.fault(message, "items")
    if items.pattern is None:
        return
    if items.pattern.isalpha():
        hint = nearest(items.pattern, ("lines", "json"))
        message = f"{items.pattern!r} is neither `lines` nor `json`, nor a regular expression."
        yield document.fault(message + hint, "items")
    try:
        regex.compile(items.pattern)
    except (regex.error, RecursionError, OverflowError, ValueError) as bad:
        yield document.fault(f"{items.pattern!r} is not a regular expression: {bad}.", "items")
