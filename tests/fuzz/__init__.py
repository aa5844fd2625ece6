"""Hostile input of all kinds against everything that takes input from a network or a file.

    python -m pytest tests/fuzz                           a fixed seed and a fresh one, some thousand cases
    python -m pytest tests/fuzz --fuzz-cases 100000       a full campaign
    python -m pytest tests/fuzz --fuzz-seed 7             only this seed

Every case is made from (seed, test, number) alone. What holds for each: nothing is raised but the errors that the
interface names, what was refused has changed nothing, and memory stays within the bounds that are named.
"""
