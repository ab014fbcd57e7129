"""How likely tokens were, for requests that ask."""
