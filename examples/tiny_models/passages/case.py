"""Cases: a few passages, a question, and the answer or the refusal.

Owns how facts are put together into passages and which distractors stand beside the right one.
Knows nothing of chat templates or tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from .fact import Fact, capitalised, is_plural, make_fact
from .filler import closer, filler, opener
from .word import Split, Words


REFUSAL = "The passages do not say."

#: Other forms of the pronouns that stand for a subject.
OBJECTS = {"he": "him", "she": "her", "they": "them"}
OWNERS = {"he": "His", "she": "Her", "they": "Their", "it": "Its"}


#: A question and its answer.
Asked = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """Passages in the order shown, a question, and the span that answers it (None: refuse)."""

    passages: tuple[str, ...]
    question: str
    span: str | None
    right: int | None
    #: Further questions on the same passages, each with its answer.
    more: tuple[Asked, ...] = ()
    #: Questions for which passage tells of a subject, answered by its number.
    which: tuple[Asked, ...] = ()
    #: Questions about the passage of a given number.
    inside: tuple[Asked, ...] = ()

    @property
    def answer(self) -> str:
        """Give the reply to train on: the span with a full stop, or the refusal."""
        return REFUSAL if self.span is None else as_answer(self.span)

    @property
    def prompt(self) -> str:
        """Give the user message."""
        return to_prompt(self.passages, self.question)


@dataclass(frozen=True, slots=True)
class Topic:
    """A subject with the facts said of it."""

    subject: str
    is_person: bool
    facts: tuple[Fact, ...]


def as_answer(span: str) -> str:
    """End a span with a full stop."""
    return span if span.endswith(".") else f"{span}."


def to_prompt(passages: Sequence[str], question: str) -> str:
    """Lay passages and question out as the workflows do."""
    lines = [f"[{number}] {passage}" for number, passage in enumerate(passages, 1)]
    return "\n".join([*lines, f"Question: {question}"])


def make_case(
    random: Random,
    *,
    split: Split = "train",
    max_passages: int = 4,
    refusals: float = 0.2,
    num_more: int = 0,
) -> Case:
    """Make one case; `refusals` is the share of questions that the passages do not answer.

    With `num_more`, up to that many further questions on the same passages come with it, and others
    that ask for a passage's number or by it.
    """
    words = Words(random, split)
    while True:
        refuse = random.random() < refusals
        count = random.randint(1, max_passages)
        case = _try_case(words, count, refuse=refuse, num_more=num_more)
        if case is not None:
            return case


def _try_case(words: Words, count: int, *, refuse: bool, num_more: int) -> Case | None:
    topic = _make_topic(words)
    fact = words.random.choice(topic.facts)
    question, span = fact.asked(words)
    question = question.replace("{s}", topic.subject)
    said = tuple(other for other in topic.facts if other is not fact) if refuse else topic.facts
    topics = [Topic(topic.subject, topic.is_person, said)] if said else []
    topics += [_make_distractor(words, topic, fact) for _ in range(count - len(topics))]
    if refuse and words.chance(0.25):
        topics[0] = _make_distractor(words, topic, fact)
    passages = [_write(words, each) for each in topics]
    order = words.random.sample(range(len(passages)), len(passages))
    shown = tuple(passages[index] for index in order)
    more, which, inside = (), (), ()
    if num_more and len({each.subject for each in topics}) == len(topics):
        numbers = [order.index(index) + 1 for index in range(len(order))]
        more = _more_questions(words, topics, passages, num_more)
        which = _which_questions(topics, numbers)
        inside = _inside_questions(words, topics, numbers)
    if refuse:
        if any(span.lower() in passage.lower() for passage in shown):
            return None
        return Case(shown, question, None, None, more, which, inside)
    right = order.index(0)
    if [span in passage for passage in shown].count(True) != 1 or span not in shown[right]:
        return None
    return Case(shown, question, span, right, more, which, inside)


def _more_questions(
    words: Words, topics: Sequence[Topic], passages: Sequence[str], count: int
) -> tuple[Asked, ...]:
    """Ask for further facts, and now and then for one that no passage tells."""
    asked = []
    for topic, passage in zip(topics, passages, strict=True):
        for fact in topic.facts:
            question, span = fact.asked(words)
            holders = [other for other in passages if span in other]
            if holders == [passage]:
                asked.append((question.replace("{s}", topic.subject), as_answer(span)))
        untold = make_fact(words, topic.subject, person=topic.is_person)
        if words.chance(0.5) and _stem(untold) not in {_stem(fact) for fact in topic.facts}:
            question, span = untold.asked(words)
            if not any(span.lower() in other.lower() for other in passages):
                asked.append((question.replace("{s}", topic.subject), REFUSAL))
    words.random.shuffle(asked)
    return tuple(asked[:count])


def _which_questions(topics: Sequence[Topic], numbers: Sequence[int]) -> tuple[Asked, ...]:
    """Ask which passage tells of a subject: half of finding the right one of several."""
    return tuple(
        (f"Which passage tells of {topic.subject}?", f"[{number}].")
        for topic, number in zip(topics, numbers, strict=True)
    )


def _inside_questions(
    words: Words, topics: Sequence[Topic], numbers: Sequence[int]
) -> tuple[Asked, ...]:
    """Ask what the passage of a number says: the other half."""
    asked = []
    for topic, number in zip(topics, numbers, strict=True):
        question, span = words.random.choice(topic.facts).asked(words)
        if "{s}" in question:
            question = question.replace("{s}", "it")
            asked.append((f"In [{number}], {question[0].lower()}{question[1:]}", as_answer(span)))
    return tuple(asked)


def _make_topic(words: Words) -> Topic:
    is_person = words.chance(0.1)
    subject = words.person() if is_person else _subject(words)
    return Topic(subject, is_person, _make_facts(words, subject, is_person=is_person))


def _subject(words: Words) -> str:
    kind = words.random.random()
    if kind < 0.08:
        return words.things()
    return words.stuff() if kind < 0.11 else words.thing()


def _make_facts(
    words: Words, subject: str, *, is_person: bool, first: Fact | None = None
) -> tuple[Fact, ...]:
    facts = [first or make_fact(words, subject, person=is_person)]
    for _ in range(words.random.choice((0, 1, 1, 2))):
        fact = make_fact(words, subject, person=is_person)
        if all(_stem(fact) != _stem(other) for other in facts):
            facts.append(fact)
    words.random.shuffle(facts)
    return tuple(facts)


def _stem(fact: Fact) -> str:
    return fact.group if fact.group.startswith(("of:", "did:")) else fact.group.split(":")[0]


def _make_distractor(words: Words, topic: Topic, fact: Fact) -> Topic:
    """Make a topic like the right one: alike in name, in relation, in both or in neither."""
    subject = words.person() if topic.is_person else _subject(words)
    if not topic.is_person and words.chance(0.35):
        subject = _near_miss(words, topic.subject)
    first = None
    if words.chance(0.6):
        group = fact.group if fact.group.startswith(("of:", "did:")) else fact.group.split(":")[0]
        first = make_fact(words, subject, person=topic.is_person, group=group)
    return Topic(
        subject,
        topic.is_person,
        _make_facts(words, subject, is_person=topic.is_person, first=first),
    )


def _near_miss(words: Words, subject: str) -> str:
    """Change one word of a subject."""
    parts = subject.split()
    places = [index for index, part in enumerate(parts) if part not in ("the", "of")]
    index = words.random.choice(places)
    old = parts[index]
    if old[0].isupper():
        parts[index] = words.name()
    elif old.isdigit():
        parts[index] = str(words.random.randint(2, 40))
    else:
        parts[index] = words.noun() if index == len(parts) - 1 else words.modifier()
    changed = " ".join(parts)
    return words.thing() if changed == subject else changed


def _write(words: Words, topic: Topic) -> str:
    """Write the facts of a topic as one to four sentences."""
    sentences: list[str] = []
    facts = list(topic.facts)
    named = False
    while facts:
        pronoun = "they" if is_plural(topic.subject) else "it"
        if topic.is_person:
            pronoun = "he" if words.chance(0.5) else "she"
        name = pronoun if named and words.chance(0.6) else topic.subject
        sentence, used = _sentence(words, facts, name)
        del facts[:used]
        if words.chance(0.3):
            sentence = closer(words).join((sentence[:-1], "."))
        if words.chance(0.12) and sentence.startswith(("The ", "It ", "He ", "She ")):
            sentence = opener(words) + sentence[0].lower() + sentence[1:]
        sentences.append(capitalised(sentence))
        named = True
    for _ in range(words.random.choice((0, 0, 1, 1, 2))):
        if len(sentences) < 4:
            place = words.random.randint(0, len(sentences))
            subject = topic.subject if place == 0 or words.chance(0.3) else "it"
            sentences.insert(place, filler(words, subject))
    return " ".join(sentences)


def _sentence(words: Words, facts: list[Fact], name: str) -> tuple[str, int]:
    """Say the first fact, or the first two at once; return the sentence and how many were said."""
    first = facts[0]
    if len(facts) > 1 and first.predicates and facts[1].predicates and words.chance(0.45):
        one = words.pick(first.predicates)
        two = words.pick(facts[1].predicates)
        sentence = words.pick(
            (
                "{s} {one} and {two}.",
                "{s}, which {one}, {two}.",
                "{s} {one}, and it {two}.",
                "{s} {one} but {two}.",
                "{s} {one}; it {two}.",
            )
        )
        if name in OWNERS:
            sentence = "{s} {one} and {two}."
        return sentence.format(s=name, one=one, two=two), 2
    if first.predicates and (not first.sentences or words.chance(0.55)):
        return f"{name} {words.pick(first.predicates)}.", 1
    sentence = words.pick(first.sentences)
    owner = OWNERS.get(name, f"{capitalised(name)}'s")
    if not sentence.startswith("{S}"):
        name = OBJECTS.get(name, name)
    sentence = sentence.replace("{S's}", owner)
    return sentence.replace("{S}", capitalised(name)).replace("{s}", name), 1
