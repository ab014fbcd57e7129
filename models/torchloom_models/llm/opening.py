"""Opens an engine of the kind `llm`: finds the parts, sizes them, compiles and warms up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from transformers import GenerationConfig, PreTrainedModel

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.engine import Work
from torchloom.errors import ModelLoadError
from torchloom_models.backend import WeightFormat
from torchloom_models.llm.adapter.plan import AdapterPlan
from torchloom_models.llm.adapter.stack import Mixer, NoMixer
from torchloom_models.llm.adapter.table import AdapterTable
from torchloom_models.llm.cache.cache_room import CacheRoom, free_bytes
from torchloom_models.llm.cache.kv_cache import CacheSize, KvCache, token_bytes
from torchloom_models.llm.checkpoint import Checkpoint
from torchloom_models.llm.decode_step import DecodeStep
from torchloom_models.llm.draft.plan import DraftPlan, OpenDraft
from torchloom_models.llm.engine import EngineFacts, LlmEngine
from torchloom_models.llm.grammar.arrival import Arrivals
from torchloom_models.llm.grammar.compiler import GrammarCompiler
from torchloom_models.llm.model_runner import ModelRunner, probe_layers
from torchloom_models.llm.openvino_opening import open_openvino
from torchloom_models.llm.openvino_runner import OpenvinoRunner
from torchloom_models.llm.paged_runner import PagedRunner
from torchloom_models.llm.request import RequestReader
from torchloom_models.llm.runner import Runner
from torchloom_models.llm.sampler import Sampler
from torchloom_models.llm.sampling_params import SamplingParams
from torchloom_models.llm.scheduler import Budget, Scheduler
from torchloom_models.llm.tokenizer import Tokenizer
from torchloom_models.loss import perplexity_loss
from torchloom_models.opening import Opening
from torchloom_models.packed_linear import pack_linears
from torchloom_models.sample import SAMPLES
from torchloom_models.source import resolve_source


#: How many sequences an engine holds where the model file does not say.
_MAX_SEQUENCES = 16

#: What is written where the fastest device is looked for, and how many of it at once. The prompt is
#: one that fits into any context.
_TRIAL: Mapping[str, object] = {"max_tokens": 16, "temperature": 0, "ignore_eos": True}
_NUM_TRIALS = 4

#: The most tokens of prompts in one pass, by kind of device: some tenths of a second alone, and
#: less beside sequences that write. OpenVINO's kernel takes both in one pass; elsewhere prompts
#: have passes of their own, which cost as much as a token does however short they are.
_BUDGETS = {
    "cpu": Budget(alone=512, beside=256),
    "cuda": Budget(alone=8192, beside=1024),
    "openvino": Budget(alone=512, beside=64),
}


def open_engine(config: Mapping[str, object], device: Device, report: Report) -> LlmEngine:
    """Open an engine; on `auto`, on whichever device writes the fastest.

    `config` holds what a model file says, and where compiled code is kept. Raises ModelLoadError,
    InvalidModel or DeviceUnavailable.
    """
    return LlmOpening(config, report).open(device)


class LlmOpening(Opening[LlmEngine]):
    """What is read once of a language model's folder."""

    timed_by = (
        "dtype",
        "compile",
        "weights",
        "max_sequences",
        "max_size",
        "max_length",
        "kv_cache",
        "speculation",
        "adapter_shape",
        "draft_model",
    )

    def __init__(self, config: Mapping[str, object], report: Report) -> None:
        super().__init__(config, report)
        self._checkpoint = Checkpoint(resolve_source(str(config["source"]), report))
        self._adapters = AdapterPlan.of_model(config, report)
        if self._adapters is not None:
            # Others of the same shape take as long.
            self._config = {**self._config, "adapter_shape": self._adapters.shape}
        self._draft = DraftPlan.of_model(config, self._checkpoint, report)
        if self._draft is not None:
            self._config = {**self._config, "draft_model": self._draft.checkpoint.digest}

    @property
    def _model(self) -> str:
        return self._checkpoint.digest

    def _works(self) -> list[Work]:
        return [Work(n, {"prompt": "a"}, _TRIAL) for n in range(_NUM_TRIALS)]

    def _open_at(self, label: str, place: str) -> LlmEngine:
        config, checkpoint = self._config, self._checkpoint
        self._report("loading the weights", None)
        dtype = checkpoint.dtype(self._dtype, place)
        self._settle(dtype)
        model = checkpoint.load_model(dtype, place)
        if label == "cpu":
            pack_linears(model)
        mixer: Mixer = NoMixer()
        table: AdapterTable | None = None
        if self._adapters is not None:
            mixer, table = self._adapters.open(model, label, self._report)
        room = _cache_room(model, checkpoint, config, place)
        runner, size = self._runner(model, room, label, place, mixer)
        draft = self._open_draft(runner, room, size, label, dtype)
        if self._has_warm_up:
            runner.warm_up(self._report)
            if draft is not None:
                draft.runner.warm_up(self._report)
        # Pages of a CPU's memory count for nobody before they are written to.
        is_reserved = room.kv_cache is not None and place == "cpu"
        taken = size.num_tokens * room.bytes_per_token + (draft.num_bytes if draft else 0)
        reserved = taken if is_reserved else 0
        return self._assemble(
            runner, label, place, note=size.note, reserved=reserved, adapters=table, draft=draft
        )

    def _runner(
        self, model: PreTrainedModel, room: CacheRoom, label: str, place: str, mixer: Mixer
    ) -> tuple[Runner, CacheSize]:
        """Make what runs a model's passes on a device, and say how large its cache is."""
        recipe = self._recipe(label, str(model.dtype))
        if label.startswith("openvino:"):
            return open_openvino(model, room, recipe, mixer)
        size = room.slots()
        cache = KvCache.of(size, model.dtype, place)
        step = DecodeStep(model, cache, recipe, mixer)
        return ModelRunner(model, cache, step, device=place, mixer=mixer), size

    def _open_draft(
        self, runner: Runner, room: CacheRoom, size: CacheSize, label: str, dtype: torch.dtype
    ) -> OpenDraft | None:
        """Open the draft model beside a model whose passes take guesses; None where there is none.

        Raises ModelLoadError where it cannot be loaded.
        """
        if self._draft is None or not runner.max_draft:
            return None
        self._report("loading the draft model", None)
        place = room.device
        model = self._draft.load_model(dtype, place)
        own = _cache_room(model, self._draft.checkpoint, self._draft.cache_config(size), place)
        left = own.free_bytes - size.num_tokens * room.bytes_per_token
        recipe = self._recipe(label, str(dtype))
        key = replace(recipe.key, model=self._draft.checkpoint.digest, part="draft")
        return self._draft.open(model, replace(own, free_bytes=left), replace(recipe, key=key))

    def _assemble(
        self,
        runner: Runner,
        label: str,
        place: str,
        *,
        note: str,
        reserved: int,
        adapters: AdapterTable | None,
        draft: OpenDraft | None,
    ) -> LlmEngine:
        checkpoint = self._checkpoint
        tokenizer = Tokenizer.from_folder(
            checkpoint.folder, chat_template=cast("str | None", self._config.get("chat_template"))
        )
        generation = checkpoint.load_generation()
        end_tokens = _end_tokens(generation, tokenizer)
        return LlmEngine(
            reader=RequestReader(
                tokenizer,
                defaults=_defaults(generation),
                max_length=runner.max_length,
                vocabulary_size=checkpoint.vocabulary_size,
                end_tokens=end_tokens,
                tool_format=cast("str | None", self._config.get("tool_format")),
                adapters=adapters,
            ),
            drafter=None if draft is None else draft.drafter,
            scheduler=self._scheduler(runner, draft),
            runner=runner,
            sampler=Sampler(
                vocabulary_size=checkpoint.vocabulary_size,
                end_tokens=sorted(end_tokens),
                device=place,
            ),
            arrivals=Arrivals(
                GrammarCompiler(
                    tokenizer.to_json,
                    vocabulary_size=checkpoint.vocabulary_size,
                    end_tokens=end_tokens,
                )
            ),
            budget=_BUDGETS[label.partition(":")[0]],
            facts=EngineFacts(
                device=label,
                num_threads=_threads_within(label),
                notes=(*([note] if note else []), *self._notes(runner, tokenizer, draft)),
                reserved_bytes=reserved,
            ),
        )

    def _scheduler(self, runner: Runner, draft: OpenDraft | None) -> Scheduler:
        return Scheduler(
            runner.make_pool(is_shared=bool(self._config.get("prefix_cache", True))),
            num_rows=runner.num_rows,
            max_draft=self._max_draft,
            max_drafts=runner.max_draft,
            max_scored=runner.max_scored,
            draft=None if draft is None else draft.table,
        )

    def _notes(self, runner: Runner, tokenizer: Tokenizer, draft: OpenDraft | None) -> list[str]:
        notes = []
        if "speculation" in self._config and not runner.max_draft:
            notes.append("nothing is guessed ahead: a pass takes one token of each sequence here")
        elif self._draft is not None and draft is None:
            notes.append("the draft model guesses nothing: OpenVINO's kernel does not serve it")
        if isinstance(runner, OpenvinoRunner | PagedRunner):
            notes += self._losses(partial(_loss, runner, tokenizer))
        return notes

    @property
    def _max_draft(self) -> int:
        """How many tokens the model file has guessed ahead at once."""
        speculation = cast("Mapping[str, object]", self._config.get("speculation", {}))
        return cast("int", speculation.get("prompt_lookup", 0))


def _cache_room(
    model: PreTrainedModel, checkpoint: Checkpoint, config: Mapping[str, object], place: str
) -> CacheRoom:
    """Say what bounds a cache."""
    try:
        layers = probe_layers(model)
    except (NotImplementedError, AttributeError, LookupError, TypeError, ValueError) as error:
        message = (
            f"{type(model).__name__} cannot be served: it keeps more of a sequence than the keys "
            f"and values of plain attention ({type(error).__name__}: {error})."
        )
        raise ModelLoadError(message) from error
    number = config.get("max_sequences") or config.get("max_size") or _MAX_SEQUENCES
    return CacheRoom(
        layers=layers,
        bytes_per_token=token_bytes(layers, model.dtype),
        model_length=checkpoint.max_length,
        max_sequences=cast("int", number),
        max_length=cast("int | None", config.get("max_length")),
        kv_cache=cast("Mapping[str, object] | None", config.get("kv_cache")),
        free_bytes=free_bytes(place),
        device=place,
    )


def _loss(runner: OpenvinoRunner | PagedRunner, tokenizer: Tokenizer, weights: WeightFormat) -> str:
    """Compare the perplexities of the sample texts."""
    return perplexity_loss(weights, *runner.perplexities(tokenizer.encode(" ".join(SAMPLES))))


def _threads_within(label: str) -> int | None:
    """Say how many threads torch takes within a step on a device; None: as many as it has.

    OpenVINO's threads look for work for a while after a pass, on all cores: whatever of torch wants
    a second thread meanwhile waits for one.
    """
    return 1 if label.startswith("openvino:") else None


def _end_tokens(generation: GenerationConfig, tokenizer: Tokenizer) -> frozenset[int]:
    """Give the tokens that end an answer: the model's own, or else the tokenizer's."""
    named = generation.eos_token_id
    if named is None:
        named = tokenizer.eos_token_id
    if named is None:
        return frozenset()
    return frozenset([named] if isinstance(named, int) else named)


def _defaults(generation: GenerationConfig) -> SamplingParams:
    """Give the parameters that the model comes with: greedy, unless it says that it draws."""
    names = ["repetition_penalty"]
    if generation.do_sample:
        names += ["temperature", "top_k", "top_p", "min_p"]
    values = {name: getattr(generation, name, None) for name in names}
    if generation.do_sample and values["temperature"] is None:
        values["temperature"] = 1.0
    return SamplingParams().updated(values)
