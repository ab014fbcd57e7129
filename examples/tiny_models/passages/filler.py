"""Sentences that say nothing a question asks for, so that answers must be looked for."""

from __future__ import annotations

from .word import Words


_PATTERNS = (
    "{S} smells of tar and {substance}.",
    "Children like {s} best when it rains.",
    "{S} is older than it looks.",
    "Please keep the path to {s} clear.",
    "Few people know the story of {s}.",
    "{S} has seen better days, but it still does its work.",
    "In winter {s} is a quiet place.",
    "Many visitors ask about {s}, and most of them come back.",
    "Dogs are welcome if they are kept on a lead.",
    "Bring warm clothes, since the wind is strong.",
    "There is little to see, but the view is fine.",
    "The noise can be heard from far away.",
    "Nobody remembers why it was done that way.",
    "New members are shown around on their first day.",
    "Lost things are handed in at the desk.",
    "When the weather is bad, work goes on indoors.",
    "A small sign near the door explains the rules.",
    "Photographs are allowed, but without a flash.",
    "After the storm {s} had to be dried for weeks.",
    "{S} is shown on every postcard of the town.",
    "Some say that {s} brings luck.",
    "Everyone who works here has a favourite story about {s}.",
    "The staff are proud of {s}.",
    "{S} may not be moved without asking first.",
    "Ask at {thing} if anything is unclear.",
    "From there it is a short walk to {thing}.",
    "It is often mixed up with {thing}.",
    "Unlike {thing}, it needs hardly any care.",
    "Those who have seen {thing} will know the style.",
    "{person} once wrote a poem about it.",
    "A letter by {person} mentions {s}.",
    "Old drawings by {person} show it without a roof.",
    "Nothing has changed since the days of {person}.",
    "The talk of {town} for a while, it is now almost forgotten.",
    "People from {town} still come to see it.",
    "Rain and frost have worn the {plural} down.",
    "The {plural} are not for sale.",
    "Careful work keeps the {plural} dry.",
    "It took much longer than planned.",
    "The old {plural} were sold and never missed.",
    "The smell of {food} is in the air most days.",
    "On clear days you can see as far as {town}.",
    "A {colour} flag means that all is well.",
    "It is the pride of {job}.",
    "Much of the work is done by volunteers.",
    "Tea and biscuits are free for helpers.",
    "The rules are strict but fair.",
    "Repairs are done by hand, as they always were.",
    "Please do not lean on the {plural}.",
    "Most people come for the view and stay for the stories.",
)

_OPENERS = (
    "In the old days, ",
    "As a rule, ",
    "These days, ",
    "According to the log, ",
    "As everyone here knows, ",
    "By tradition, ",
    "For the time being, ",
    "Under the new rules, ",
    "Rain or shine, ",
    "After long debate it was settled: ",
    "Please note that ",
    "Remember that ",
    "As it happens, ",
    "Since the repairs, ",
)

_CLOSERS = (
    ", whatever the weather",
    ", as the records show",
    ", much to the joy of visitors",
    ", and nobody wants to change that",
    ", so plan ahead",
    ", though few people know it",
    ", except in bad weather",
    ", which pleases the staff",
    ", and it shows",
    ", just as before",
    " without fail",
    " as a matter of course",
    ", rain or shine",
    ", and children pay half",
    ", and beginners are welcome",
    ", and the staff help where they can",
    " when the sea is calm",
    ", since the old one was lost",
    ", where the wind is strongest",
    ", but only in summer",
    ", and the money goes to a good cause",
    ", and there has never been a complaint",
    ", because the rules ask for it",
    ", which may seem odd",
    " and makes no secret of it",
    " and is still in use",
    " and needs two people to move",
    ", who is glad of visitors",
    ", as it has been for a hundred years",
)


def filler(words: Words, subject: str) -> str:
    """Make one sentence that gives no fact."""
    sentence = words.pick(_PATTERNS)
    for slot, make in (
        ("thing", words.thing),
        ("person", words.person),
        ("town", words.town),
        ("plural", words.plural),
        ("food", words.food),
        ("substance", words.substance),
        ("colour", words.colour),
        ("job", words.job),
    ):
        if f"{{{slot}}}" in sentence:
            sentence = sentence.replace(f"{{{slot}}}", make())
    sentence = sentence.replace("{s}", subject).replace("{S}", subject)
    return sentence[:1].upper() + sentence[1:]


def opener(words: Words) -> str:
    """Pick words to begin a sentence with."""
    return words.pick(_OPENERS)


def closer(words: Words) -> str:
    """Pick words to end a sentence with."""
    return words.pick(_CLOSERS)
