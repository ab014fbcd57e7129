"""Opens an engine of the kind `llm`: finds the parts, sizes them, compiles and warms up."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from transformers import GenerationConfig, PreTrainedModel

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.engine import Work
from torchloom.errors import ModelLoadError
from torchloom_models.artefact import digest_of_text
from torchloom_models.backend import WeightFormat
from torchloom_models.choice import Contest, candidates_of
from torchloom_models.compile import ArtefactKey, CompileSettings
from torchloom_models.hardware import DtypeName, label_of, place_of
from torchloom_models.llm.checkpoint import Checkpoint
from torchloom_models.llm.context import choose_max_length
from torchloom_models.llm.decode_step import DecodeStep
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.kv_cache import CacheSize, KvCache, token_bytes
from torchloom_models.llm.model_runner import ModelRunner, probe_layers
from torchloom_models.llm.openvino_opening import open_openvino
from torchloom_models.llm.openvino_runner import OpenvinoRunner
from torchloom_models.llm.paged_runner import PagedRunner
from torchloom_models.llm.request import RequestReader
from torchloom_models.llm.runner import Runner
from torchloom_models.llm.sampler import Sampler
from torchloom_models.llm.sampling_params import SamplingParams
from torchloom_models.llm.scheduler import Scheduler
from torchloom_models.llm.tokenizer import Tokenizer
from torchloom_models.loss import perplexity_loss, unknown_loss
from torchloom_models.packed_linear import pack_linears
from torchloom_models.sample import SAMPLES
from torchloom_models.source import resolve_source


_log = logging.getLogger(__name__)

#: How many sequences an engine holds where the model file does not say.
_MAX_SEQUENCES = 16

#: What is written where the fastest device is looked for, and how many of it at once. The prompt is
#: one that fits into any context.
_TRIAL: Mapping[str, object] = {"max_tokens": 16, "temperature": 0, "ignore_eos": True}
_NUM_TRIALS = 4

#: The most tokens of new prompts in one pass, by kind of device: some tenths of a second.
_MAX_PREFILL_TOKENS = {"cpu": 512, "cuda": 8192}


def open_engine(config: Mapping[str, object], device: Device, report: Report) -> LlmEngine:
    """Open an engine; on `auto`, on whichever device writes the fastest.

    `config` holds what a model file says, and where compiled code is kept. Raises ModelLoadError,
    InvalidModel or DeviceUnavailable.
    """
    opening = Opening(config, report)
    if device.kind != "auto":
        return opening.open_on(device)
    contest = Contest(
        candidates=candidates_of(config),
        works=[Work(n, {"prompt": "a"}, _TRIAL) for n in range(_NUM_TRIALS)],
        model=opening.digest,
        artefacts=opening.artefacts,
    )
    return contest.open_fastest(opening.open_on)


class Opening:
    """What is read once of a model's folder, whichever devices it is opened on."""

    def __init__(self, config: Mapping[str, object], report: Report) -> None:
        self._config = config
        self._report = report
        self._checkpoint = Checkpoint(resolve_source(str(config["source"]), report))
        #: The device that is opened first says what `auto` means; all others do as it does.
        self._dtype = cast("DtypeName", config.get("dtype", "auto"))
        artefacts = config.get("artefacts")
        self.artefacts = Path(str(artefacts)) if artefacts else None

    @property
    def digest(self) -> str:
        """A digest of the model, and of all that its file says which time may depend on."""
        keys = ("dtype", "compile", "weights", "max_sequences", "max_size", "max_length")
        values = (repr(self._config.get(key)) for key in keys)
        return digest_of_text(self._checkpoint.digest, *values)

    def open_on(self, device: Device) -> LlmEngine:
        """Open it on one device."""
        config, checkpoint = self._config, self._checkpoint
        place = place_of(device)
        label = label_of(device, place)
        self._report("loading the weights", None)
        dtype = checkpoint.dtype(self._dtype, place)
        self._dtype = cast("DtypeName", str(dtype).removeprefix("torch."))
        model = checkpoint.load_model(dtype, place)
        if label == "cpu":
            pack_linears(model)
        size = _cache_size(model, checkpoint, config, place)
        runner = self._runner(model, size, label, place)
        if config.get("warmup", True):
            runner.warm_up(self._report)
        return _assemble(checkpoint, config, runner, label)

    def _runner(self, model: PreTrainedModel, size: CacheSize, label: str, place: str) -> Runner:
        """Make what runs a model's passes on a device."""
        settings = CompileSettings.of_model(self._config).on(label)
        key = ArtefactKey(
            model=self._checkpoint.digest,
            dtype=str(model.dtype),
            device=label,
            name=str(self._config.get("name", "")),
        )
        if label.startswith("openvino:"):
            return open_openvino(model, size, settings=settings, key=key, folder=self.artefacts)
        cache = KvCache(
            size.layers,
            num_slots=size.num_slots,
            max_length=size.max_length,
            dtype=model.dtype,
            device=place,
        )
        step = DecodeStep(model, cache, settings=settings, key=key, folder=self.artefacts)
        return ModelRunner(model, cache, step, device=place)


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


def _assemble(
    checkpoint: Checkpoint, config: Mapping[str, object], runner: Runner, device: str
) -> LlmEngine:
    tokenizer = Tokenizer.from_folder(
        checkpoint.folder, chat_template=cast("str | None", config.get("chat_template"))
    )
    generation = checkpoint.load_generation()
    end_tokens = _end_tokens(generation, tokenizer)
    reader = RequestReader(
        tokenizer,
        defaults=_defaults(generation),
        max_length=runner.max_length,
        vocabulary_size=checkpoint.vocabulary_size,
        end_tokens=end_tokens,
    )
    scheduler = Scheduler(
        num_slots=runner.num_slots,
        bucket_of_rows=runner.padded_rows,
    )
    sampler = Sampler(
        vocabulary_size=checkpoint.vocabulary_size,
        end_tokens=sorted(end_tokens),
        device=_place_of(device),
    )
    return LlmEngine(
        reader=reader,
        scheduler=scheduler,
        runner=runner,
        sampler=sampler,
        max_prefill_tokens=_MAX_PREFILL_TOKENS[_place_of(device).partition(":")[0]],
        device=device,
        notes=_notes(config, runner, tokenizer),
    )


def _place_of(device: str) -> str:
    """Give where a device's tensors are."""
    return "cpu" if device.startswith("openvino:") else device


def _notes(config: Mapping[str, object], runner: Runner, tokenizer: Tokenizer) -> list[str]:
    """Say what compressed weights lose, where there are any."""
    weights = cast("WeightFormat", config.get("weights", "full"))
    if weights == "full" or not isinstance(runner, OpenvinoRunner | PagedRunner):
        return []
    if not config.get("warmup", True):
        return [unknown_loss(weights, "there is no warm-up")]
    tokens = tokenizer.encode(" ".join(SAMPLES))
    note = perplexity_loss(weights, *runner.perplexities(tokens))
    _log.info("%s: %s", config.get("name", "llm"), note)
    return [note]


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
