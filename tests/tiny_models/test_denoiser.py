"""The denoiser of the tiny Stable Diffusion: lessons, loss, averaged weights."""

from __future__ import annotations

import copy

import pytest


torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from examples.tiny_models.clip_tokenizer import MAX_TOKENS, make_tokenizer  # noqa: E402
from examples.tiny_models.denoiser import (  # noqa: E402
    Denoiser,
    Lessons,
    Pace,
    follow,
    loss_of,
    make_denoiser,
    make_scheduler,
    tokenize,
    train_denoiser,
)
from examples.tiny_models.schedule import Clock  # noqa: E402


pytestmark = pytest.mark.slow
PROMPT = "a small red circle at the top left on a white background"


@pytest.fixture
def denoiser() -> Denoiser:
    """Make the untrained models."""
    torch.manual_seed(1)
    return make_denoiser(make_tokenizer())


@pytest.fixture(scope="module")
def lessons() -> Lessons:
    """Give a single lesson."""
    tokenizer = make_tokenizer()
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(2)).half()
    places = torch.zeros(1, 16, 16, dtype=torch.bool)
    places[:, :6, :6] = True
    return Lessons(latents, tokenize(tokenizer, [PROMPT]), places, tokenize(tokenizer, [""])[0])


def test_gives_every_prompt_the_same_length() -> None:
    """Short prompts are filled up and long ones cut, as the pipeline does."""
    tokens = tokenize(make_tokenizer(), [PROMPT, "", "a red circle and " * 40])

    assert tokens.shape == (3, MAX_TOKENS)


def test_teaches_a_tenth_without_the_prompt(lessons: Lessons) -> None:
    """About one lesson in ten has the empty prompt, with the picture of a real one."""
    torch.manual_seed(3)
    tokens = torch.cat([lessons.batch(32)[1] for _ in range(100)])
    unprompted = (tokens == lessons.empty).all(dim=1)

    assert 0.07 < unprompted.float().mean() < 0.13
    assert (tokens[~unprompted] == lessons.tokens[0]).all()


def test_has_no_loss_when_the_velocity_is_right() -> None:
    """What knows the latents finds the velocity that is asked for, at every timestep."""
    scheduler = make_scheduler()
    latents = torch.randn(16, 4, 16, 16)
    seen: list[torch.Tensor] = []

    def oracle(noisy: torch.Tensor, timesteps: torch.Tensor, _tokens: torch.Tensor) -> torch.Tensor:
        seen.append(timesteps)
        kept = scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        noise = (noisy - kept.sqrt() * latents) / (1 - kept).sqrt()
        return kept.sqrt() * noise - (1 - kept).sqrt() * latents

    places = torch.zeros(16, 16, 16, dtype=torch.bool)

    assert loss_of(oracle, scheduler, latents, torch.zeros(16, MAX_TOKENS), places) < 1e-6
    assert seen[0].diff().min() >= 0
    assert seen[0].min() < 63
    assert seen[0].max() >= 937


def test_weighs_errors_near_figures_more() -> None:
    """The same error costs more where the prompt places a figure."""
    scheduler, latents = make_scheduler(), torch.zeros(16, 4, 16, 16)
    places = torch.zeros(16, 16, 16, dtype=torch.bool)
    places[:, :8] = True

    def wrong_above(noisy: torch.Tensor, timesteps: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        kept = scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        right = kept.sqrt() * noisy / (1 - kept).sqrt()
        right[:, :, :8] += 1
        return right

    near = loss_of(wrong_above, scheduler, latents, torch.zeros(16, MAX_TOKENS), places)
    far = loss_of(wrong_above, scheduler, latents, torch.zeros(16, MAX_TOKENS), ~places)

    assert near > 3 * far > 0


def test_averages_weights(denoiser: Denoiser) -> None:
    """The averaged weights move a little towards the present ones, and at once in the beginning."""
    averaged = copy.deepcopy(denoiser)
    with torch.no_grad():
        for value in denoiser.parameters():
            value.add_(1)
    before = averaged.parameters()[0].clone()

    follow(averaged.parameters(), denoiser.parameters(), step=100_000)
    late = averaged.parameters()[0] - before
    follow(averaged.parameters(), denoiser.parameters(), step=0)

    torch.testing.assert_close(late, torch.full_like(late, 0.002), atol=1e-5, rtol=0)
    torch.testing.assert_close(averaged.parameters()[-1], denoiser.parameters()[-1])


def test_learns(denoiser: Denoiser, lessons: Lessons) -> None:
    """Training brings the loss down, and shows the averaged weights after each step."""
    shown = []
    torch.manual_seed(4)
    batch = lessons.batch(32)
    with torch.no_grad():
        before = loss_of(denoiser, make_scheduler(), *batch)

    with Clock("denoiser", num_steps=15) as clock:
        pace = Pace(rate=1e-3, batch_size=32, compile=False)
        train_denoiser(denoiser, lessons, clock, pace, shown.append)

    with torch.no_grad():
        after = loss_of(shown[-1], make_scheduler(), *batch)
    assert len(shown) == 15
    assert not shown[-1].unet.training
    assert after < 0.95 * before
