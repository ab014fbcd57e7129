"""The embedder kind: texts in, vectors out, any number of texts from any number of tasks at once.

Texts that are too long are cut as the model's own configuration says, unless `truncate: false`. An
empty text has a vector as well: that of the model's special tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.engine import BatchEngine, Values, Work
from torchloom.errors import InputTooLong, InvalidInput, nearest
from torchloom_models.backend import WeightFormat
from torchloom_models.buckets import bucket_of, powers_of_two
from torchloom_models.compile import CompiledCallable, CompileSettings, Dim
from torchloom_models.encoder import Encoder, load_encoder
from torchloom_models.encoder_folder import EncoderFolder, read_encoder_folder
from torchloom_models.hardware import reserved_bytes
from torchloom_models.loss import cosine_loss
from torchloom_models.opening import Opening
from torchloom_models.packed_linear import pack_linears
from torchloom_models.sample import SAMPLES
from torchloom_models.source import resolve_source
from torchloom_models.text_batch import Packing, Pass
from torchloom_models.text_tokenizer import TextTokenizer
from torchloom_models.weights import digest_of_folder


Vectors = NDArray[np.float32]

#: How many tasks a batch holds, unless the model file says.
_MAX_TASKS = 64

#: How many of the sample texts go through each device where the fastest is looked for.
_MEASURED = 8

#: The most tokens of a pass, by kind of device. A CPU is busy with few; more only take memory.
_MAX_TOKENS = {"cpu": 4096, "cuda": 65_536}

#: What a pass costs beside its tokens, in tokens.
_PASS_TOKENS = {"cpu": 64, "cuda": 4096}

#: Lengths are padded to multiples of this where one piece of code serves all of them.
_LENGTH_STEP = 8

#: While a bucket has no code yet, one of up to so many times its tokens serves; eager code is no
#: slower than more padding than that.
_MAX_PADDING = 4

#: The shape that code is tuned for where it serves many.
_TYPICAL_ROWS, _TYPICAL_LENGTH = 8, 64


def open_embedder(config: Mapping[str, object], device: Device, report: Report) -> BatchEngine:
    """Load, compile and warm up an embedder; on `auto`, on whichever device is the fastest.

    Raises ModelLoadError, InvalidModel or DeviceUnavailable.
    """
    return EmbedderOpening(config, report).open(device)


class EmbedderOpening(Opening[BatchEngine]):
    """What is read once of a text encoder's folder."""

    timed_by = ("dtype", "compile", "weights", "max_length", "max_batch_tokens", "pooling")

    def __init__(self, config: Mapping[str, object], report: Report) -> None:
        super().__init__(config, report)
        source = resolve_source(str(config["source"]), report)
        self._folder = _configured(read_encoder_folder(source), config)
        self._digest = digest_of_folder(source)
        self._encoders: dict[str, Encoder] = {}

    @property
    def _model(self) -> str:
        return self._digest

    def _works(self) -> list[Work]:
        return [Work(number, {"text": text}) for number, text in enumerate(SAMPLES[:_MEASURED])]

    def _open_at(self, label: str, place: str) -> BatchEngine:
        config, settings = self._config, self._settings(label)
        encoder = self._load(label, place)
        tokenizer = TextTokenizer.from_folder(
            self._folder.transformer,
            max_lengths=_lengths(self._folder, encoder),
            is_lower_case=self._folder.is_lower_case,
        )
        packing = _packing(config, settings, tokenizer.max_length, place)
        rows = Dim("rows", max=packing.max_rows)
        length = Dim("length", max=packing.lengths[-1])
        recipe = self._recipe(label, str(encoder.dtype)).of_part("encode")
        compiled = recipe.compile(encoder, dims=[{0: rows, 1: length}] * 2)
        if self._has_warm_up:
            compiled.warm_up(_examples(settings, packing, place), self._report)
        full, embedder = (
            Embedder(encode, tokenizer, packing, self._folder, settings=settings, place=place)
            for encode in (torch.inference_mode()(encoder), compiled)
        )
        return BatchEngine(
            embedder.embed,
            max_tasks=cast("int", config.get("max_size", _MAX_TASKS)),
            device=label,
            validate=embedder.validate,
            close=compiled.close,
            notes=self._losses(partial(_loss, full, embedder)),
            measure=lambda: reserved_bytes(label),
            code=lambda: [compiled.status()],
        )

    def _load(self, label: str, place: str) -> Encoder:
        """Load the weights, once for all of OpenVINO's devices."""
        kept = "openvino" if label.startswith("openvino:") else label
        if kept not in self._encoders:
            self._report("loading the weights", None)
            encoder = load_encoder(self._folder, dtype=self._dtype, place=place)
            self._settle(encoder.dtype)
            if label == "cpu":
                pack_linears(encoder)
            self._encoders[kept] = encoder
        return self._encoders[kept]


class Embedder:
    """Turns tasks into vectors: tokenises, packs, encodes, and puts everything back in order."""

    def __init__(
        self,
        encode: Callable[[torch.Tensor, torch.Tensor], object],
        tokenizer: TextTokenizer,
        packing: Packing,
        folder: EncoderFolder,
        *,
        settings: CompileSettings,
        place: str,
    ) -> None:
        self._encode = encode
        self._tokenizer = tokenizer
        self._packing = packing
        self._prompts = folder.prompts
        self._default_prompt = folder.default_prompt
        self._rows = () if settings.dynamic else powers_of_two(1, packing.max_rows)
        self._place = place

    def validate(self, work: Work) -> None:
        """Refuse what is no text, before any work. Raises InvalidInput."""
        texts = self._texts(work)
        if not all(_is_unicode(text) for text in texts):
            raise InvalidInput("A text holds half a surrogate pair, which is no character.")
        if work.params.get("truncate", True) is False:
            place = self._tokenizer.find_too_long(texts)
            if place is not None:
                message = (
                    f"Text {place} has more than the {self._tokenizer.max_length} tokens that the "
                    "model takes. Shorten it, split it, or leave out `truncate: false`."
                )
                raise InputTooLong(message)

    def embed(self, works: Sequence[Work]) -> list[Values]:
        """Give each task `embedding` [dim] or `embeddings` [texts, dim] in float32, and `usage`."""
        texts = [self._texts(work) for work in works]
        ids = self._tokenizer.encode([text for of_task in texts for text in of_task])
        vectors = self._vectors(ids)
        ends = np.cumsum([len(of_task) for of_task in texts])[:-1]
        sizes = np.split(np.array([len(text) for text in ids], np.int64), ends)
        return [
            {
                **({"embedding": part[0]} if "text" in work.inputs else {"embeddings": part}),
                "usage": {"prompt": int(size.sum())},
            }
            for work, part, size in zip(works, np.split(vectors, ends), sizes, strict=True)
        ]

    def _texts(self, work: Work) -> list[str]:
        given = [name for name in ("text", "texts") if work.inputs.get(name) is not None]
        if len(given) != 1:
            raise InvalidInput("An embedder takes either `text` or `texts`.")
        value = work.inputs[given[0]]
        texts = [value] if given == ["text"] else value
        if not isinstance(texts, list | tuple) or not all(isinstance(t, str) for t in texts):
            wanted = "a string" if given == ["text"] else "a list of strings"
            raise InvalidInput(f"The input {given[0]!r} must be {wanted}.")
        prompt = self._prompt(work.params.get("prompt_name", self._default_prompt))
        return [prompt + text for text in texts]

    def _prompt(self, name: object) -> str:
        if name is None:
            return ""
        if name not in self._prompts:
            known = nearest(str(name), self._prompts) or " It has none."
            raise InvalidInput(f"The model has no prompt {name!r}.{known}")
        return self._prompts[str(name)]

    def _vectors(self, ids: Sequence[Sequence[int]]) -> Vectors:
        found: Vectors | None = None
        for each in self._packing.pack([len(text) for text in ids]):
            part = self._run(each, ids)
            if found is None:
                found = np.empty((len(ids), part.shape[1]), np.float32)
            found[list(each.places)] = part
        return np.empty((0, 0), np.float32) if found is None else found

    def _run(self, each: Pass, ids: Sequence[Sequence[int]]) -> Vectors:
        """Run one pass: texts padded on the right, and rows of one token where rows are padded."""
        shape = self._shape(len(each.places), each.length)
        tokens = np.full(shape, self._tokenizer.pad_id, np.int64)
        mask = np.zeros(shape, np.int64)
        mask[:, 0] = 1
        for row, place in enumerate(each.places):
            tokens[row, : len(ids[place])] = ids[place]
            mask[row, : len(ids[place])] = 1
        vectors = self._encode(
            torch.from_numpy(tokens).to(self._place), torch.from_numpy(mask).to(self._place)
        )
        found: Vectors = cast("torch.Tensor", vectors).cpu().numpy()
        return found[: len(each.places)]

    def _shape(self, num_rows: int, length: int) -> tuple[int, int]:
        """Give the rows and length to pad to: of the nearest bucket that there is code for."""
        if not self._rows or not isinstance(self._encode, CompiledCallable):
            return num_rows, length
        shapes = larger_buckets(
            bucket_of(num_rows, self._rows), length, self._rows, self._packing.lengths
        )
        likes = (torch.empty(shape, dtype=torch.long, device="meta") for shape in shapes)
        return shapes[self._encode.first_ready((like, like) for like in likes)]


def larger_buckets(
    rows: int, length: int, all_rows: Sequence[int], lengths: Sequence[int]
) -> list[tuple[int, int]]:
    """Give the buckets (rows, length) that hold another, itself first, by what padding costs."""
    most = _MAX_PADDING * rows * length
    shapes = [
        (r, size)
        for r in all_rows
        for size in lengths
        if r >= rows and size >= length and r * size <= most
    ]
    return sorted(shapes, key=lambda shape: (shape[0] * shape[1], shape[1]))


def _loss(full: Embedder, embedder: Embedder, weights: WeightFormat) -> str:
    """Compare the vectors of the sample texts."""
    vectors = (each.embed([Work(0, {"texts": SAMPLES})])[0] for each in (full, embedder))
    return cosine_loss(weights, *(cast("Vectors", each["embeddings"]) for each in vectors))


def _is_unicode(text: str) -> bool:
    """Say whether a text can be tokenised: JSON may hold surrogates that stand alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _configured(folder: EncoderFolder, config: Mapping[str, object]) -> EncoderFolder:
    """Let the model file override what the folder says."""
    if "pooling" in config:
        folder = replace(folder, poolings=(str(config["pooling"]),))
    if "normalize" in config:
        folder = replace(folder, is_normalized=bool(config["normalize"]))
    if "max_length" in config:
        folder = replace(folder, max_length=cast("int", config["max_length"]))
    return folder


def _lengths(folder: EncoderFolder, encoder: Encoder) -> list[int]:
    positions = encoder.max_positions
    return [length for length in (folder.max_length, positions) if length is not None]


def _packing(
    config: Mapping[str, object], settings: CompileSettings, max_length: int, place: str
) -> Packing:
    kind = place.partition(":")[0]
    max_tokens = cast("int", config.get("max_batch_tokens", _MAX_TOKENS[kind]))
    if settings.buckets:
        lengths = [length for length in settings.buckets if length < max_length] + [max_length]
    elif settings.dynamic:
        lengths = [*range(_LENGTH_STEP, max_length, _LENGTH_STEP), max_length]
    else:
        lengths = list(powers_of_two(min(16, max_length), max_length))
    return Packing(
        lengths=lengths,
        max_tokens=max_tokens,
        max_rows=max(max_tokens // lengths[0], 1),
        pass_tokens=_PASS_TOKENS[kind],
    )


def _examples(
    settings: CompileSettings, packing: Packing, place: str
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Give what to compile before the first request: one for all, or one row of each length."""
    typical = (min(_TYPICAL_ROWS, packing.max_rows), min(_TYPICAL_LENGTH, packing.lengths[-1]))
    shapes = [typical] if settings.dynamic else [(1, length) for length in packing.lengths]
    ones = [torch.ones(shape, dtype=torch.long, device=place) for shape in shapes]
    return [(each, each.clone()) for each in ones]
