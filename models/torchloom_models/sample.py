"""Sample: texts of everyday use, which models are measured on. Knows no model."""

from __future__ import annotations


#: Questions, statements and passages, short and long, on unlike matters.
SAMPLES: tuple[str, ...] = (
    "How do I reset my password?",
    "The ferry leaves from the eastern pier at half past seven, except on Sundays.",
    "A cat sleeps on the sofa.",
    "Interest rates rose by a quarter point in the third quarter, in line with forecasts.",
    "def mean(values): return sum(values) / len(values)",
    "Which of the two batteries lasts longer in cold weather, and by how much?",
    (
        "The committee will meet again next Thursday to discuss the budget for the new library, "
        "whose roof must be mended before the winter, and to hear what the architects propose."
    ),
    "error: connection refused (is the server running on this host?)",
    "Melt the butter, stir in the flour, and add the milk little by little until it thickens.",
    "Water boils at a lower temperature on a mountain than by the sea.",
    "I would like to return these shoes: they are too small, and the left one came without laces.",
    "Two trains start at the same time from towns that are 300 kilometres apart.",
    (
        "The lighthouse was built in 1874 by the harbour company, which kept it until the storm of "
        "1921 broke the lamp room; since then the town has looked after it, with a keeper until "
        "1968."
    ),
    "Symptoms include fever, a dry cough and tiredness.",
    "Turn left at the church, then walk on to the bridge.",
    "No refunds after thirty days.",
)
