"""Ideas and the picture prompts they ask for, for training and for scoring.

Owns which colours, shapes and backgrounds an idea suggests. The language itself is in `scenes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from .passages import Split, Words
from .scenes import BACKGROUNDS, COLOURS, PLACES, SHAPES, SIZES, Figure, Scene, parse


MAX_PROMPTS = 8
#: The first picture stands in the centre, the next ones around it.
PLACES_IN_ORDER = ("in the centre", *(place for place in PLACES if place != "in the centre"))


@dataclass(frozen=True, slots=True)
class Theme:
    """What an idea calls for; an empty tuple leaves the choice open."""

    colours: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    backgrounds: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PictureCase:
    """An idea, how many prompts it should become, and one good set of them."""

    idea: str
    count: int
    theme: Theme
    lines: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """Give the user message."""
        return to_prompt(self.idea, self.count)

    @property
    def answer(self) -> str:
        """Give the reply to train on."""
        return "\n".join(self.lines)


#: Words of an idea and what they call for.
THEMES: dict[str, Theme] = {
    "sea": Theme(("blue", "green"), ("circle", "ring"), ("cream", "white")),
    "harbour": Theme(("blue", "red"), ("triangle", "square"), ("cream", "grey")),
    "night": Theme(("yellow", "purple"), ("star", "circle"), ("navy", "black")),
    "stars": Theme(("yellow",), ("star",), ("navy", "black")),
    "planets": Theme(("orange", "red", "blue"), ("circle", "ring"), ("black",)),
    "sunset": Theme(("orange", "red", "pink"), ("circle",), ("navy", "cream")),
    "sunrise": Theme(("yellow", "orange", "pink"), ("circle",), ("cream", "grey")),
    "sun": Theme(("yellow", "orange"), ("circle",), ("cream", "white")),
    "moon": Theme(("yellow",), ("circle", "ring"), ("navy", "black")),
    "forest": Theme(("green", "brown"), ("triangle",), ("cream", "grey")),
    "garden": Theme(("green", "pink", "red"), ("circle", "heart"), ("cream", "white")),
    "flowers": Theme(("pink", "red", "purple"), ("circle", "star"), ("cream", "white")),
    "mountains": Theme(("brown", "purple"), ("triangle",), ("grey", "white")),
    "snow": Theme(("blue",), ("star", "circle"), ("white", "grey")),
    "winter": Theme(("blue", "purple"), ("star", "diamond"), ("white", "grey")),
    "autumn": Theme(("orange", "brown", "red"), ("diamond", "circle"), ("cream", "grey")),
    "spring": Theme(("green", "pink"), ("circle", "heart"), ("white", "cream")),
    "summer": Theme(("yellow", "orange"), ("circle", "star"), ("white", "cream")),
    "fire": Theme(("red", "orange"), ("triangle",), ("black", "grey")),
    "love": Theme(("red", "pink"), ("heart",), ("white", "cream")),
    "party": Theme(("pink", "yellow", "purple"), ("circle", "star"), ("white", "black")),
    "birthday": Theme(("pink", "yellow", "blue"), ("circle", "heart"), ("white", "cream")),
    "balloons": Theme(("red", "yellow", "blue"), ("circle",), ("white", "grey")),
    "jewels": Theme(("purple", "green", "blue"), ("diamond",), ("black", "white")),
    "hospital": Theme(("red",), ("cross",), ("white",)),
    "chocolate": Theme(("brown",), ("square",), ("cream", "white")),
    "toys": Theme(("red", "blue", "yellow"), ("square", "circle"), ("white", "cream")),
    "traffic": Theme(("red", "yellow", "green"), ("circle",), ("grey", "black")),
    "kites": Theme(("red", "orange", "purple"), ("diamond",), ("white", "cream")),
    "wedding": Theme(("pink",), ("ring", "heart"), ("white", "cream")),
    "fruit": Theme(("red", "orange", "green"), ("circle",), ("white", "cream")),
    "desert": Theme(("yellow", "orange"), ("triangle",), ("cream", "white")),
    "rain": Theme(("blue", "purple"), ("circle",), ("grey",)),
    "storm": Theme(("purple", "blue"), ("triangle", "cross"), ("grey", "black")),
    "treasure": Theme(("yellow", "orange"), ("circle", "diamond"), ("black", "navy")),
    "circus": Theme(("red", "yellow"), ("star", "triangle"), ("white", "cream")),
}

_LINKS = ("and", "with", "in", "over", "near the", "at", "by the", "of the", "after")
_FRAMES = (
    "{idea}",
    "{idea}",
    "{idea}",
    "a poster of {idea}",
    "{idea} for a child's room",
    "a calm picture of {idea}",
    "something about {idea}",
    "the feeling of {idea}",
    "{idea} in the style of a postcard",
)


def to_prompt(idea: str, count: int) -> str:
    """Ask for picture prompts as the workflows do."""
    return f"Write {count} picture prompts, one a line, about: {idea}"


def make_picture_case(random: Random, *, split: Split = "train") -> PictureCase:
    """Make an idea, and the prompts that it should become."""
    count = random.randint(1, MAX_PROMPTS)
    idea, theme = _make_idea(random, Words(random, split))
    lines = tuple(scene.to_prompt() for scene in _make_scenes(random, theme, count))
    return PictureCase(idea, count, theme, lines)


def fits(case: PictureCase, answer: str) -> bool:
    """Say whether an answer has as many lines as asked, all in the language, all on the theme."""
    scenes = [parse(line) for line in answer.split("\n")]
    if len(scenes) != case.count or len(set(answer.split("\n"))) != case.count:
        return False
    return all(scene is not None and _is_on_theme(scene, case.theme) for scene in scenes)


def _is_on_theme(scene: Scene, theme: Theme) -> bool:
    figure = scene.figures[0]
    wanted = (
        (figure.colour, theme.colours),
        (figure.shape, theme.shapes),
        (figure.size, theme.sizes),
        (scene.background, theme.backgrounds),
    )
    return all(not options or word in options for word, options in wanted)


def _make_idea(random: Random, words: Words) -> tuple[str, Theme]:
    kind = random.random()
    if kind < 0.5:
        return _named_idea(random, words)
    if kind < 0.85:
        word = random.choice(sorted(THEMES))
        other = random.choice((words.name(), words.noun(), words.modifier(), "the town"))
        idea = random.choice((word, word, f"{word} {random.choice(_LINKS)} {other}", f"the {word}"))
        if random.random() < 0.2:
            idea = f"{other} {random.choice(_LINKS)} {word}"
        return random.choice(_FRAMES).format(idea=idea), THEMES[word]
    idea = random.choice((words.thing, words.town, words.purpose, words.food))()
    if any(word in idea.split() for word in (*THEMES, *COLOURS, *BACKGROUNDS, *SIZES)):
        return _named_idea(random, words)
    return random.choice(_FRAMES).format(idea=idea), Theme()


def _named_idea(random: Random, words: Words) -> tuple[str, Theme]:
    """Make an idea that names a colour, a shape, a size or a background."""
    colours = tuple(random.sample(COLOURS, random.choice((0, 1, 1, 2))))
    shapes = tuple(random.sample(SHAPES, random.choice((1, 1, 2)) if colours else 1))
    if colours and random.random() < 0.25:
        shapes = ()
    sizes = (random.choice(("small", "large")),) if shapes and random.random() < 0.2 else ()
    things = " and ".join(_plural(shape) for shape in shapes) or random.choice(
        ("things", "shapes", words.noun(), "dreams", "mood")
    )
    if len(shapes) == 1 and random.random() < 0.3:
        things = shapes[0]
    idea = " ".join([*sizes, *(" and ".join(colours),) * bool(colours), things])
    backgrounds: tuple[str, ...] = ()
    if random.random() < 0.25:
        backgrounds = (random.choice(BACKGROUNDS),)
        idea = f"{idea} on {backgrounds[0]}"
    theme = Theme(colours, shapes, backgrounds, sizes)
    return random.choice(_FRAMES).format(idea=idea), theme


def _plural(shape: str) -> str:
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"


def _make_scenes(random: Random, theme: Theme, count: int) -> list[Scene]:
    """Make scenes that differ: each takes the next place, size, colour and shape in order.

    So only the first line leaves a choice, and greedy decoding never says a line twice.
    """
    colours = theme.colours or _from_anywhere(random, COLOURS)
    shapes = theme.shapes or _from_anywhere(random, SHAPES)
    sizes = theme.sizes or ("large", "small", "medium")
    background = theme.backgrounds[0] if theme.backgrounds else random.choice(BACKGROUNDS)
    return [
        Scene(
            (
                Figure(
                    sizes[index % len(sizes)],
                    colours[index % len(colours)],
                    shapes[index % len(shapes)],
                    PLACES_IN_ORDER[index],
                ),
            ),
            background,
        )
        for index in range(count)
    ]


def _from_anywhere(random: Random, words: Sequence[str]) -> tuple[str, ...]:
    start = random.randrange(len(words))
    return (*words[start:], *words[:start])
