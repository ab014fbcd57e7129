"""Runtimes: each opens one form of weights, in a file of its own; `table.py` tells them apart."""
