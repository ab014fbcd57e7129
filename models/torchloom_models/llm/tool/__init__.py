"""Tools: what a model may call, how its family writes a call, and calls read as they come."""
