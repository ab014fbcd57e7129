"""DraftPlan: the draft model that a model file names, read once, whichever devices are tried.

It loads no weights before there is a model to guess for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from transformers import PreTrainedModel

from torchloom.deployment import Report
from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.llm.cache.cache_room import CacheRoom
from torchloom_models.llm.cache.kv_cache import CacheSize
from torchloom_models.llm.checkpoint import Checkpoint
from torchloom_models.llm.draft.drafter import Drafter
from torchloom_models.llm.draft.field import DEFAULT_TOKENS, MAX_WRITERS, draft_source
from torchloom_models.llm.draft.table import DraftTable
from torchloom_models.llm.openvino_opening import open_openvino
from torchloom_models.llm.paged_runner import PagedRunner
from torchloom_models.llm.tokenizer import Tokenizer
from torchloom_models.paged_attention import BLOCK_SIZE
from torchloom_models.recipe import Recipe
from torchloom_models.source import resolve_source


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDraft:
    """A draft model that is ready, its blocks, and how large its cache is."""

    drafter: Drafter
    table: DraftTable
    runner: PagedRunner
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftPlan:
    """A draft model's files, and how many tokens it guesses at once.

    `vocabulary_size` is that of the model that it guesses for.
    """

    checkpoint: Checkpoint
    num_tokens: int
    vocabulary_size: int

    @classmethod
    def of_model(
        cls, config: Mapping[str, object], target: Checkpoint, report: Report
    ) -> DraftPlan | None:
        """Read it; None where the model file names none.

        Raises ModelLoadError where there is none, or one that has other tokens than the model.
        """
        source = draft_source(config)
        if source is None:
            return None
        try:
            checkpoint = Checkpoint(resolve_source(source, report))
        except (InvalidModel, ModelLoadError) as error:
            message = f"The draft model was not loaded: {error.message}"
            raise ModelLoadError(message) from error
        _check_vocabulary(checkpoint, target)
        speculation = cast("Mapping[str, int]", config["speculation"])
        return cls(
            checkpoint=checkpoint,
            num_tokens=speculation.get("tokens", DEFAULT_TOKENS),
            vocabulary_size=target.vocabulary_size,
        )

    def load_model(self, dtype: torch.dtype, place: str) -> PreTrainedModel:
        """Load its weights. Raises ModelLoadError."""
        return self.checkpoint.load_model(dtype, place)

    def cache_config(self, size: CacheSize) -> dict[str, object]:
        """Say what bounds its cache, in a model file's words, beside a model's own of a size.

        It has room for the longest sequences that are guessed for together, as far as the model
        itself could hold them.
        """
        number = min(MAX_WRITERS, size.num_slots)
        length = min(size.max_length, self.checkpoint.max_length or size.max_length)
        longest = -(-length // BLOCK_SIZE) * BLOCK_SIZE
        return {
            "max_sequences": number,
            "max_length": length,
            "kv_cache": {"tokens": min(size.num_tokens, number * longest)},
        }

    def open(self, model: PreTrainedModel, room: CacheRoom, recipe: Recipe) -> OpenDraft | None:
        """Make what guesses; None where OpenVINO's kernel does not serve the model.

        Raises ModelLoadError where there is no room for its cache.
        """
        try:
            runner, size = open_openvino(model, room, recipe)
        except ModelLoadError as error:
            message = f"The draft model has no room beside the model: {error.message}"
            raise ModelLoadError(message) from error
        if not isinstance(runner, PagedRunner):
            runner.close()
            return None
        table = DraftTable(
            runner.make_pool(is_shared=False),
            max_tokens=self.num_tokens,
            max_writers=runner.num_rows,
            max_length=size.max_length,
        )
        drafter = Drafter(
            runner,
            table,
            vocabulary_size=self.vocabulary_size,
            own_size=self.checkpoint.vocabulary_size,
        )
        num_bytes = size.num_tokens * room.bytes_per_token
        return OpenDraft(drafter=drafter, table=table, runner=runner, num_bytes=num_bytes)


def _check_vocabulary(draft: Checkpoint, target: Checkpoint) -> None:
    """Raise ModelLoadError unless both models have the same tokens under the same numbers."""
    own, wanted = (Tokenizer.from_folder(each.folder).vocabulary for each in (draft, target))
    if own == wanted:
        return
    odd = min(
        (token for token in own.keys() | wanted.keys() if own.get(token) != wanted.get(token)),
        key=lambda token: min(own.get(token, len(own)), wanted.get(token, len(wanted))),
    )
    numbers = [vocabulary.get(odd, "none") for vocabulary in (own, wanted)]
    message = (
        f"The draft model in {str(draft.folder)!r} cannot guess for the model in "
        f"{str(target.folder)!r}: they have other tokens, {len(own)} and {len(wanted)} of them; "
        f"{odd!r} is number {numbers[0]} and {numbers[1]}. Name one with the same tokenizer."
    )
    raise ModelLoadError(message)
