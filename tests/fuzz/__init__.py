"""Fuzzing of every parser of untrusted or user-written input.

    parsers.py   the parsers: they take bytes and may raise only their documented errors
    corpus/      initial inputs, one per line, backslashes escaped; inputs of found crashes are added here
    mutate.py    seeded mutations of the inputs
"""
