"""Opens an engine of the kind `llm`: finds the parts, sizes them, compiles and warms up."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import cast

from transformers import GenerationConfig, PreTrainedModel

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.engine import Work
from torchloom.errors import ModelLoadError
from torchloom_models.backend import WeightFormat
from torchloom_models.llm.checkpoint import Checkpoint
from torchloom_models.llm.context import choose_max_length
from torchloom_models.llm.decode_step import DecodeStep
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.grammar.arrival import Arrivals
from torchloom_models.llm.grammar.compiler import GrammarCompiler
from torchloom_models.llm.kv_cache import CacheSize, KvCache, token_bytes
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
        "speculation",
    )

    def __init__(self, config: Mapping[str, object], report: Report) -> None:
        super().__init__(config, report)
        self._checkpoint = Checkpoint(resolve_source(str(config["source"]), report))

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
        size = _cache_size(model, checkpoint, config, place)
        runner = self._runner(model, size, label, place)
        if self._has_warm_up:
            runner.warm_up(self._report)
        return self._assemble(runner, label, place)

    def _runner(self, model: PreTrainedModel, size: CacheSize, label: str, place: str) -> Runner:
        """Make what runs a model's passes on a device."""
        recipe = self._recipe(label, str(model.dtype))
        if label.startswith("openvino:"):
            return open_openvino(model, size, recipe)
        cache = KvCache(
            size.layers,
            num_slots=size.num_slots,
            max_length=size.max_length,
            dtype=model.dtype,
            device=place,
        )
        return ModelRunner(model, cache, DecodeStep(model, cache, recipe), device=place)

    def _assemble(self, runner: Runner, label: str, place: str) -> LlmEngine:
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
            ),
            scheduler=Scheduler(
                runner.make_pool(is_shared=bool(self._config.get("prefix_cache", True))),
                num_rows=runner.num_rows,
                bucket_of_rows=runner.row_bucket,
                max_draft=self._max_draft,
                max_drafts=runner.max_draft,
            ),
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
            device=label,
            notes=self._notes(runner, tokenizer),
        )

    def _notes(self, runner: Runner, tokenizer: Tokenizer) -> list[str]:
        notes = []
        if self._max_draft and not runner.max_draft:
            notes.append("nothing is guessed ahead: a pass takes one token of each sequence here")
        if isinstance(runner, OpenvinoRunner | PagedRunner):
            notes += self._losses(partial(_loss, runner, tokenizer))
        return notes

    @property
    def _max_draft(self) -> int:
        """How many tokens the model file has guessed ahead at once."""
        speculation = cast("Mapping[str, int]", self._config.get("speculation", {}))
        return speculation.get("prompt_lookup", 0)


def _cache_size(
    model: PreTrainedModel, checkpoint: Checkpoint, config: Mapping[str, object], place: str
) -> CacheSize:
    """Say what a cache must hold."""
    try:
        layers = probe_layers(model)
    except (NotImplementedError, AttributeError, LookupError, TypeError, ValueError) as error:
        message = (
            f"{type(model).__name__} cannot be served: it keeps more of a sequence than the keys "
            f"and values of plain attention ({type(error).__name__}: {error})."
        )
        raise ModelLoadError(message) from error
    num_slots = cast("int", config.get("max_sequences") or config.get("max_size") or _MAX_SEQUENCES)
    max_length = choose_max_length(
        model_length=checkpoint.max_length,
        wished=cast("int | None", config.get("max_length")),
        bytes_per_token=token_bytes(layers, model.dtype),
        num_slots=num_slots,
        device=place,
    )
    return CacheSize(layers=layers, num_slots=num_slots, max_length=max_length)


def _loss(runner: OpenvinoRunner | PagedRunner, tokenizer: Tokenizer, weights: WeightFormat) -> str:
    """Compare the perplexities of the sample texts."""
    return perplexity_loss(weights, *runner.perplexities(tokenizer.encode(" ".join(SAMPLES))))


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
