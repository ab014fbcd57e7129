"""`ts.handler_utils.hf_batch_streamer`. Needs transformers: the archive's, or the server's."""

from __future__ import annotations

from typing import Any, Self

from transformers import TextIteratorStreamer
from transformers.generation.streamers import BaseStreamer


class TextIteratorStreamerBatch(BaseStreamer):
    """Gives the texts of a batch that `generate` writes, one piece of each at a time.

    A piece is `[{"text": …}, …]`, in the order of the rows. It ends with the row that ends first.
    """

    def __init__(
        self,
        tokenizer: Any,
        batch_size: int,
        skip_prompt: bool = False,  # noqa: FBT001, FBT002 - TorchServe's face
        timeout: float | None = None,
        **decode_kwargs: Any,
    ) -> None:
        self.batch_size = batch_size
        self.streamers: list[Any] = [
            TextIteratorStreamer(tokenizer, skip_prompt, timeout, **decode_kwargs)
            for _ in range(batch_size)
        ]

    def put(self, value: Any) -> None:
        """Take the next tokens: a tensor of as many rows as the batch has, else ValueError."""
        if value.shape[0] != self.batch_size:
            message = (
                f"TextIteratorStreamerBatch is for {self.batch_size} rows, and was given a tensor "
                f"of shape {tuple(value.shape)}."
            )
            raise ValueError(message)
        for index, streamer in enumerate(self.streamers):
            streamer.put(value[index : index + 1])

    def end(self) -> None:
        """Tell all rows that no more follows."""
        for streamer in self.streamers:
            streamer.end()

    def __iter__(self) -> Self:
        """Give itself."""
        return self

    def __next__(self) -> list[dict[str, str]]:
        """Wait for the next piece of each row."""
        pieces = [next(streamer, None) for streamer in self.streamers]
        texts = [{"text": piece} for piece in pieces if piece is not None]
        if len(texts) < len(pieces):
            raise StopIteration
        return texts
