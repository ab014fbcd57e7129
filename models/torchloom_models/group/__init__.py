"""Workers of several processes, which work on each task together."""
