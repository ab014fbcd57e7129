"""Facts: something said of a subject, the ways to say it, and the questions that ask for it.

Knows nothing of passages: which facts stand together, or which question is asked, is up to `case`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .relation import (
    ATTRIBUTE_PERSON_QUESTIONS,
    ATTRIBUTE_QUESTIONS,
    ATTRIBUTE_SENTENCES,
    ATTRIBUTES,
    PERSON_RELATIONS,
    RELATIONS,
    VERBS,
    Relation,
)
from .word import PLURALS, Words


#: How often a pattern kept out of training is used where there is one.
REWORDED_SHARE = 0.5


#: Relations that can be said with a year in the same breath.
DATED = {
    "designer": ("designed", "planned"),
    "maker": ("built", "made", "put up"),
    "founder": ("founded", "set up", "started"),
    "giver": ("donated", "paid for"),
    "finder": ("found", "discovered"),
    "author": ("painted", "composed"),
}
#: Irregular beginnings of predicates, for one subject and for several.
NUMBERED = {"is": "are", "was": "were", "has": "have", "goes": "go", "reaches": "reach"}


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact of a subject: sentence patterns with {s} and {S}, and (question, answer) pairs."""

    group: str
    subject: str
    predicates: tuple[str, ...]
    sentences: tuple[str, ...]
    questions: tuple[tuple[str, str], ...]

    def asked(self, words: Words) -> tuple[str, str]:
        """Pick a question with its answer."""
        return words.random.choice(self.questions)


def capitalised(text: str) -> str:
    """Begin with a capital, and leave the rest."""
    return text[:1].upper() + text[1:]


def patterns(words: Words, values: Sequence[str]) -> tuple[str, ...]:
    """Keep the patterns of this split, without their mark."""
    trained = tuple(value for value in values if not value.startswith("~"))
    held_out = tuple(value[1:] for value in values if value.startswith("~"))
    if words.split == "reworded" and held_out and words.chance(REWORDED_SHARE):
        return held_out
    return trained


def make_fact(words: Words, subject: str, *, person: bool, group: str | None = None) -> Fact:
    """Make a fact of `subject`; with `group`, one that a question of that group could ask for."""
    relations = PERSON_RELATIONS if person else RELATIONS
    if group is not None and group.startswith("of:"):
        return _attribute_fact(words, subject, group.removeprefix("of:"))
    if group is not None and group.startswith("did:"):
        return _event_fact(words, subject, group.removeprefix("did:"))
    if group is not None:
        fitting = [relation for relation in relations if relation.group == group]
        return _relation_fact(words, subject, words.random.choice(fitting))
    kind = words.random.random()
    if kind < 0.16 and not person:
        return _attribute_fact(words, subject, None)
    if kind < 0.34 and not person:
        return _event_fact(words, subject, None)
    return _relation_fact(words, subject, words.random.choice(relations))


def _value(words: Words, kind: str) -> str:
    if kind in ("length", "weight", "volume", "temperature", "speed", "power"):
        return words.measure(kind)
    return str(getattr(words, kind)())


def _relation_fact(words: Words, subject: str, relation: Relation) -> Fact:
    answer = _value(words, relation.answer)
    extra = _value(words, relation.extra) if relation.extra else ""

    number = as_plural if is_plural(subject) else str

    def fill(values: Sequence[str]) -> tuple[str, ...]:
        return tuple(
            number(value).replace("{a}", answer).replace("{x}", extra)
            for value in patterns(words, values)
        )

    predicates = fill(relation.predicates)
    if relation.group in DATED and words.chance(0.4):
        return _dated_fact(words, subject, relation, answer)
    questions = [(question, answer) for question in fill(relation.questions)]
    if relation.inverses and words.chance(0.12):
        questions = [(question, subject) for question in fill(relation.inverses)]
    # Stores is asked both ways: what is in a place, and where a thing is.
    return Fact(
        group=f"{relation.group}:{extra}",
        subject=subject,
        predicates=predicates,
        sentences=fill(relation.sentences),
        questions=tuple(questions),
    )


def _dated_fact(words: Words, subject: str, relation: Relation, answer: str) -> Fact:
    """Say in one clause who made the subject and when; ask for one of the two."""
    verb, year = words.pick(DATED[relation.group]), words.year()
    was = "were" if is_plural(subject) else "was"
    both = (f"{was} {verb} by {answer} in {year}", f"{was} {verb} in {year} by {answer}")
    whole = (f"{answer} {verb} {{s}} in {year}.", f"In {year}, {answer} {verb} {{s}}.")
    who = (f"Who {verb} {{s}}?", f"By whom {was} {{s}} {verb}?", f"Who {verb} {{s}} in {year}?")
    when = (f"When {was} {{s}} {verb}?", f"In which year {was} {{s}} {verb}?")
    return Fact(
        group=f"{relation.group}:",
        subject=subject,
        predicates=both,
        sentences=whole,
        questions=(
            *((question, answer) for question in who[: 2 + words.chance(0.3)]),
            *((question, year) for question in when),
        ),
    )


def is_plural(subject: str) -> bool:
    """Say whether a subject names several things."""
    return subject.rsplit(maxsplit=1)[-1] in PLURALS and subject.split(maxsplit=1)[0] not in (
        "a",
        "each",
        "every",
    )


def as_plural(pattern: str) -> str:
    """Turn a pattern for one subject into one for several."""
    for one, many in (
        ("does {s}", "do {s}"),
        ("is {s}", "are {s}"),
        ("was {s}", "were {s}"),
        ("has {s}", "have {s}"),
        ("{s} is", "{s} are"),
        ("{s} was", "{s} were"),
        ("{s} has", "{s} have"),
    ):
        pattern = pattern.replace(one, many)
    first, _, rest = pattern.partition(" ")
    if first in NUMBERED:
        return f"{NUMBERED[first]} {rest}"
    if first.islower() and first.endswith("s") and first not in ("was", "does"):
        return f"{first.removesuffix('s')} {rest}"
    return pattern


def _attribute_fact(words: Words, subject: str, name: str | None) -> Fact:
    options = [(names, kind) for kind, names in ATTRIBUTES if name is None or name in names]
    names, kind = words.random.choice(options)
    attribute = name or words.pick(names.split("|"))
    answer = _value(words, kind)
    asked = ATTRIBUTE_PERSON_QUESTIONS if kind == "person" else ATTRIBUTE_QUESTIONS

    def fill(values: Sequence[str]) -> tuple[str, ...]:
        return tuple(
            value.replace("{a}", answer).replace("{x}", attribute)
            for value in patterns(words, values)
        )

    return Fact(
        group=f"of:{attribute}",
        subject=subject,
        predicates=(),
        sentences=fill(ATTRIBUTE_SENTENCES),
        questions=tuple((question, answer) for question in fill(asked)),
    )


def _event_fact(words: Words, subject: str, verb: str | None) -> Fact:
    """Say who did what to the subject, with up to two of when, where and with what."""
    base = verb or words.random.choice(VERBS)[0]
    _, third, past, participle = next(forms for forms in VERBS if forms[0] == base)
    agent = words.agent()
    adjuncts = {
        "time": ("at ", words.time()),
        "day": ("on ", words.day()),
        "place": ("in ", words.thing()),
        "frequency": ("", words.frequency()),
        "tool": ("with ", words.pick(("a ", "the ")) + f"{words.modifier()} {words.noun()}"),
        "duration": ("for ", words.duration()),
    }
    chosen = words.random.sample(sorted(adjuncts), words.random.choice((0, 1, 1, 1, 2)))
    tail = "".join(f" {prefix}{value}" for prefix, value in (adjuncts[key] for key in chosen))
    present = words.chance(0.5)
    is_was, does_did, verb_form = ("is", "does", third) if present else ("was", "did", past)
    if is_plural(subject):
        is_was = "are" if present else "were"
    predicates = [
        f"{is_was} {participle} by {agent}{tail}",
        f"{is_was} {participle}{tail} by {agent}",
    ]
    sentences = [f"{agent} {verb_form} {{s}}{tail}."]
    if len(chosen) == 1 and chosen[0] != "tool":
        sentences.append(f"{tail.strip()}, {agent} {verb_form} {{s}}.")
    who = [
        f"Who {verb_form} {{s}}?",
        f"Who {verb_form} {{s}}{tail}?",
        f"By whom {is_was} {{s}} {participle}?",
    ]
    pairs = [(question, agent) for question in who]
    openers = {
        "time": ("When", "At what time"),
        "day": ("When", "On which day"),
        "place": ("Where",),
        "frequency": ("How often",),
        "tool": ("With what",),
        "duration": ("For how long", "How long"),
    }
    for key in chosen:
        opener = words.pick(openers[key])
        asked = (
            f"{opener} {does_did} {agent} {base} {{s}}?",
            f"{opener} {is_was} {{s}} {participle}?",
        )
        pairs.extend((question, adjuncts[key][1]) for question in asked)
    if words.chance(0.2):
        pairs = [(f"What {does_did} {agent} {base}{tail}?", subject)]
    return Fact(
        group=f"did:{base}",
        subject=subject,
        predicates=tuple(predicates),
        sentences=tuple(sentences),
        questions=tuple(pairs),
    )
