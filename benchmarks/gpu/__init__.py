"""The benchmarks on a GPU, part by part: `python -m benchmarks gpu`.

Each part is a process of its own with a time of its own, and what it has found is on disk as soon
as it is there. With `--device cpu --small` all of it runs on any machine, to try the benchmark.
"""
