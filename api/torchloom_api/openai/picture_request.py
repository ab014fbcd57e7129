"""PictureRequest: the body of a call that draws pictures, as a model's inputs and parameters."""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.text_request import Positive, to_seed


#: The most pictures of one request, as OpenAI has it.
_MAX_PICTURES: Final = 10

_SIZE: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


class PictureRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be drawn. What is left out is as the model file, or the model, has it."""

    model: str
    prompt: Annotated[str, Meta(min_length=1)]
    n: Annotated[int, Meta(ge=1, le=_MAX_PICTURES)] | None = None
    size: str | None = None
    user: str | None = None
    # Not OpenAI's (`extra_body` of its client).
    seed: int | None = None
    negative_prompt: str | None = None
    num_steps: Positive | None = None
    guidance: float | None = None

    def to_params(self) -> dict[str, object]:
        """Give what is asked for as a model's parameters, without the seed.

        Raises InvalidRequest for a size that is none.
        """
        given = {
            "negative_prompt": self.negative_prompt,
            "num_steps": self.num_steps,
            "guidance": self.guidance,
            **self._to_sides(),
        }
        return {name: value for name, value in given.items() if value is not None}

    def to_seeds(self) -> list[dict[str, object]]:
        """Give the seed of each picture: the first has the one that is asked for."""
        return [to_seed(self.seed, index) for index in range(self.n or 1)]

    def _to_sides(self) -> dict[str, object]:
        if self.size in (None, "auto"):
            return {}
        found = _SIZE.fullmatch(self.size or "")
        if found is None:
            message = f"'size' must be 'auto', or width and height as '512x512', not {self.size!r}."
            raise InvalidRequest(message, param="size", code="invalid_value")
        return {"width": int(found[1]), "height": int(found[2])}
