"""A draft model: a smaller one that guesses what a language model writes next."""
