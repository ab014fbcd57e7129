"""Tiny pipelines with random weights in folders, and how tests drive engines on them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from torchloom.device import Device
from torchloom.engine import Chunk, Event, Failure, Result, Work
from torchloom_models.diffusion.engine import DiffusionEngine
from torchloom_models.diffusion.opening import open_engine


WORDS = ["a", "red", "blue", "green", "circle", "square", "left", "of", "on", "white", "ground"]

#: Tokens of a prompt, start and end among them.
LENGTH = 12

_START, _END = 1, 2


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Give a tokenizer of whole words that puts CLIP's two special tokens around a text."""
    vocabulary = {"<unk>": 0, "<start>": _START, "<end>": _END}
    vocabulary |= {word: number for number, word in enumerate(WORDS, len(vocabulary))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", _START), ("<end>", _END)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<start>",
        eos_token="<end>",
        pad_token="<end>",
        model_max_length=LENGTH,
    )


def make_vae(channels: int = 4) -> AutoencoderKL:
    """Give an autoencoder whose latents are two pixels wide."""
    return AutoencoderKL(
        block_out_channels=(32, 32),
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=channels,
        norm_num_groups=8,
        sample_size=16,
    )


def make_clip() -> CLIPTextModel:
    """Give a text encoder of two layers."""
    return CLIPTextModel(clip_config())


def clip_config(width: int = 32) -> CLIPTextConfig:
    """Give the configuration of a text encoder of two layers."""
    return CLIPTextConfig(
        vocab_size=len(WORDS) + 3,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=width,
        bos_token_id=_START,
        eos_token_id=_END,
        pad_token_id=_END,
    )


def make_unet(**options: object) -> UNet2DConditionModel:
    """Give a UNet for latents of 8 by 8."""
    values: dict[str, object] = {
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 32,
        "attention_head_dim": 8,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**{**values, **options})


def make_ddim() -> DDIMScheduler:
    """Give the scheduler of Stable Diffusion 1."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def _stable_diffusion(
    of: type[DiffusionPipeline] = StableDiffusionPipeline, **options: object
) -> DiffusionPipeline:
    return of(
        vae=make_vae(),
        text_encoder=make_clip(),
        tokenizer=make_tokenizer(),
        unet=make_unet(**options),
        scheduler=make_ddim(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _lcm() -> DiffusionPipeline:
    return LatentConsistencyModelPipeline(
        vae=make_vae(),
        text_encoder=make_clip(),
        tokenizer=make_tokenizer(),
        unet=make_unet(time_cond_proj_dim=32),
        scheduler=LCMScheduler.from_config(make_ddim().config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _xl_unet(**options: object) -> UNet2DConditionModel:
    return make_unet(
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        # Six sizes, and the pooled text.
        projection_class_embeddings_input_dim=6 * 8 + 48,
        transformer_layers_per_block=(1, 2),
        cross_attention_dim=32 + 48,
        **options,
    )


def _stable_diffusion_xl(**options: object) -> DiffusionPipeline:
    return StableDiffusionXLPipeline(
        vae=make_vae(),
        text_encoder=make_clip(),
        text_encoder_2=CLIPTextModelWithProjection(clip_config(48)),
        tokenizer=make_tokenizer(),
        tokenizer_2=make_tokenizer(),
        unet=_xl_unet(**options),
        scheduler=EulerDiscreteScheduler.from_config(make_ddim().config),
    )


def make_t5() -> T5EncoderModel:
    """Give a text encoder of two layers."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(WORDS) + 3,
            d_model=96,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
        )
    )


def _flux(*, is_guided: bool) -> DiffusionPipeline:
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=is_guided, shift=3.0),
        vae=_flow_vae(),
        text_encoder=make_clip(),
        text_encoder_2=make_t5(),
        tokenizer=make_tokenizer(),
        tokenizer_2=make_tokenizer(),
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=96,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=is_guided,
        ),
    )


def _flow_vae() -> AutoencoderKL:
    vae = make_vae()
    vae.register_to_config(shift_factor=0.06, scaling_factor=1.5)
    return vae


def _stable_diffusion_3(*, has_t5: bool = True) -> DiffusionPipeline:
    return StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_flow_vae(),
        text_encoder=CLIPTextModelWithProjection(clip_config(32)),
        text_encoder_2=CLIPTextModelWithProjection(clip_config(48)),
        text_encoder_3=make_t5() if has_t5 else None,
        tokenizer=make_tokenizer(),
        tokenizer_2=make_tokenizer(),
        tokenizer_3=make_tokenizer() if has_t5 else None,
        transformer=SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=96,
            caption_projection_dim=32,
            pooled_projection_dim=80,
            pos_embed_max_size=8,
        ),
    )


def save_filler(folder: Path) -> Path:
    """Write a pipeline that fills masks, and does nothing else, to `folder`."""
    torch.manual_seed(0)
    _stable_diffusion(StableDiffusionInpaintPipeline, in_channels=9).save_pretrained(folder)
    return folder


#: A small pipeline of each layout that is served, by name.
LAYOUTS: Mapping[str, Callable[[], DiffusionPipeline]] = {
    "stable_diffusion": _stable_diffusion,
    "lcm": _lcm,
    "stable_diffusion_xl": _stable_diffusion_xl,
    "lcm_xl": lambda: _stable_diffusion_xl(time_cond_proj_dim=32),
    "flux": lambda: _flux(is_guided=True),
    "flux_schnell": lambda: _flux(is_guided=False),
    "stable_diffusion_3": _stable_diffusion_3,
    "stable_diffusion_3_without_t5": lambda: _stable_diffusion_3(has_t5=False),
}


def save_pipeline(folder: Path, layout: str = "stable_diffusion", *, seed: int = 0) -> Path:
    """Write a pipeline with random weights to `folder`."""
    torch.manual_seed(seed)
    pipeline = LAYOUTS[layout]()
    _enlarge(pipeline.vae)
    pipeline.save_pretrained(folder)
    return folder


def _enlarge(vae: torch.nn.Module) -> None:
    """Make the last layer loud: pictures of fresh weights are all grey."""
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(2)


def load_reference(
    folder: Path, of: type[DiffusionPipeline] = DiffusionPipeline, **parts: object
) -> DiffusionPipeline:
    """Give the pipeline as diffusers runs it, for comparison."""
    pipeline = of.from_pretrained(folder, **parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def open_tiny(folder: Path, **config: object) -> DiffusionEngine:
    """Open an engine on a folder; eager unless `compile` says otherwise."""
    values = {"name": "tiny", "source": str(folder), "compile": "eager", **config}
    return open_engine(values, Device("cpu"), lambda *_: None)


def open_on_openvino(folder: Path, **config: object) -> DiffusionEngine:
    """Open an engine on OpenVINO's CPU, exact unless told otherwise."""
    values = {"name": "tiny", "source": str(folder), "dtype": "float32", **config}
    return open_engine(values, Device.parse("openvino:CPU"), lambda *_: None)


def drain(engine: DiffusionEngine, max_steps: int = 500) -> list[Event]:
    """Step until everything admitted has ended."""
    events: list[Event] = []
    for _ in range(max_steps):
        events += engine.step()
        if engine.is_idle:
            return events
    raise AssertionError(f"{engine!r} did not come to an end")


def draw(engine: DiffusionEngine, **inputs: object) -> Result:
    """Draw one picture to its end: 16 by 16, unless told otherwise."""
    inputs = inputs if "image" in inputs else {"width": 16, "height": 16, **inputs}
    engine.admit(Work(0, {"prompt": "a red circle", **inputs}))
    end = drain(engine)[-1]
    assert isinstance(end, Result), end
    return end


def ends(events: Iterable[Event]) -> dict[int, Result | Failure]:
    """Give how each task ended, by its id."""
    return {event.task_id: event for event in events if not isinstance(event, Chunk)}


def pixels_of(result: Result | Chunk | Failure) -> NDArray[np.int16]:
    """Give the pixels [height, width, 3] of a result's or a chunk's picture."""
    assert not isinstance(result, Failure), result
    data = result.data if isinstance(result, Chunk) else result.outputs
    image = data["image"]
    assert isinstance(image, bytes)
    return np.asarray(Image.open(io.BytesIO(image)), np.int16)


def photo(width: int = 16, height: int = 16) -> Image.Image:
    """Give a picture of many colours."""
    across = np.linspace(0, 255, width)[None, :, None]
    down = np.linspace(0, 255, height)[:, None, None]
    pixels = np.concatenate(np.broadcast_arrays(across, down, 255 - across), axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


def half_mask(width: int = 16, height: int = 16) -> Image.Image:
    """Give a mask whose right half is white."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[:, width // 2 :] = 255
    return Image.fromarray(pixels)


def png_of(image: Image.Image, **options: object) -> bytes:
    """Give the bytes of a PNG file."""
    stream = io.BytesIO()
    image.save(stream, format="PNG", **options)
    return stream.getvalue()


def edit_json(file: Path, **changes: object) -> None:
    """Change values of a JSON file; None takes a key out."""
    values = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
