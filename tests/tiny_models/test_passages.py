"""The generated passages, and the handbook that they must not know."""

from __future__ import annotations

import re
from random import Random

from examples.tiny_models.handbook import read_passages, read_questions
from examples.tiny_models.passages import REFUSAL, Split, Words, make_case
from examples.tiny_models.passages import word as vocabulary
from examples.tiny_models.passages.relation import PERSON_RELATIONS, RELATIONS
from examples.tiny_models.passages.word import is_held_out


SPLITS: tuple[Split, ...] = ("train", "held_out", "reworded")


def test_holds_the_answer_in_the_right_passage_alone() -> None:
    """An answer stands in the right passage and in no other."""
    random = Random(5)

    for split in SPLITS:
        for _ in range(400):
            case = make_case(random, split=split)
            if case.span is None or case.right is None:
                continue
            holders = [case.span in passage for passage in case.passages]

            assert holders.index(True) == case.right
            assert holders.count(True) == 1


def test_refuses_when_no_passage_answers() -> None:
    """A case without a right passage is answered by the one refusal sentence."""
    random = Random(6)
    cases = [make_case(random, refusals=1.0) for _ in range(200)]

    assert {REFUSAL} == {case.answer for case in cases}
    assert {None} == {case.right for case in cases}


def test_asks_for_passages_by_the_subject_and_by_their_number() -> None:
    """Such a question's number is that of a passage that names the subject, or holds the answer."""
    random = Random(7)
    cases = [make_case(random, num_more=7) for _ in range(200)]
    which = [(case, *asked) for case in cases for asked in case.which]
    inside = [(case, *asked) for case in cases for asked in case.inside]

    for case, question, answer in which:
        subject = question.removeprefix("Which passage tells of ").removesuffix("?")
        assert subject.lower() in case.passages[int(answer[1]) - 1].lower()
    for case, question, answer in inside:
        number = int(question[len("In [")])
        assert answer.removesuffix(".").lower() in case.passages[number - 1].lower()
    assert which
    assert inside


def test_makes_the_same_cases_from_the_same_seed() -> None:
    """Cases depend on the seed alone."""
    one, two = Random(8), Random(8)

    assert [make_case(one) for _ in range(50)] == [make_case(two) for _ in range(50)]


def test_shows_up_to_the_passages_asked_for() -> None:
    """The number of passages is at most the one asked for, and each number occurs."""
    random = Random(9)
    counts = {len(make_case(random, max_passages=4).passages) for _ in range(200)}

    assert {1, 2, 3, 4} == counts


def test_keeps_held_out_names_and_numbers_apart() -> None:
    """Training draws no name or number of the held-out share, and scoring draws nothing else."""
    for split in SPLITS:
        words = Words(Random(10), split)
        makers = (words.name, words.time, words.price, words.code, words.year, words.integer)
        drawn = [make() for make in makers for _ in range(100)]

        assert {split != "train"} == {is_held_out(value) for value in drawn}


def test_keeps_held_out_patterns_apart() -> None:
    """No sentence or question pattern is both trained and held out."""
    patterns = [
        pattern
        for relation in (*RELATIONS, *PERSON_RELATIONS)
        for pattern in (*relation.predicates, *relation.sentences, *relation.questions)
    ]
    held_out = {pattern[1:] for pattern in patterns if pattern.startswith("~")}

    assert len(held_out) > 50
    assert not held_out & {pattern for pattern in patterns if not pattern.startswith("~")}


def _handbook_names() -> set[str]:
    """Find the names of people: runs of two capitalised words inside a sentence."""
    text = "\n".join(read_passages())
    pairs = re.findall(r"(?<=[a-z,] )[A-Z][a-z]+ [A-Z][a-z]+", text)
    return {word for pair in pairs for word in pair.split()}


def test_never_trains_on_the_handbook_names() -> None:
    """No name of the handbook is in a training vocabulary or among generated names."""
    names = _handbook_names() - {"Lake", "Cape", "Island", "Green", "Little", "Silver", "Old"}
    words = Words(Random(11), "train")
    generated = {words.name() for _ in range(5000)}

    assert len(names) > 50
    assert not names & set(vocabulary.FIRST_NAMES)
    assert not names & generated


def test_asks_questions_that_the_handbook_answers() -> None:
    """Each answer stands in the one passage that its question points at."""
    passages, questions = read_passages(), read_questions()

    assert len(passages) >= 60
    assert len(questions) >= 80
    for question in questions:
        if question.answer is None or question.passage is None:
            assert question.answer is question.passage
            continue
        holders = [passage for passage in passages if question.passage in passage]

        assert len(holders) == 1
        assert question.answer.removesuffix(".") in holders[0]
