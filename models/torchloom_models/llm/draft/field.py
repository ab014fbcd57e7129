"""What a model file may say of guesses, in JSON Schema's words. Guesses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from torchloom.signature import Schema


#: How many tokens a draft model guesses at once where the model file does not say.
DEFAULT_TOKENS: Final = 4

#: A draft model guesses while so many sequences write at most: the rows of more fill a pass.
MAX_WRITERS: Final = 4

_COUNT: Schema = {"type": "integer", "minimum": 1, "maximum": 32}

#: The key `speculation` of a model file.
SPECULATION: Schema = {
    "type": "object",
    "properties": {
        "prompt_lookup": {
            **_COUNT,
            "description": "So many tokens at once are guessed from what was there before.",
        },
        "draft": {
            "type": "string",
            "minLength": 1,
            "description": "The source of a smaller model with the same tokens, which guesses.",
        },
        "tokens": {
            **_COUNT,
            "default": DEFAULT_TOKENS,
            "description": "How many tokens at once the draft model guesses.",
        },
    },
    "minProperties": 1,
    "additionalProperties": False,
    "description": "Tokens are guessed, and checked several at once, where a device can.",
}


def draft_source(config: Mapping[str, object]) -> str | None:
    """Give the source of the draft model that a model file names; None where it names none."""
    speculation = cast("Mapping[str, object]", config.get("speculation", {}))
    return cast("str | None", speculation.get("draft"))


def with_draft_source(config: Mapping[str, object], source: str) -> dict[str, object]:
    """Give what a model file says, with another source of its draft model."""
    speculation = cast("Mapping[str, object]", config["speculation"])
    return {**config, "speculation": {**speculation, "draft": source}}
