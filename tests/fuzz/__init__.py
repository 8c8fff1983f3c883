"""Fuzzing of every parser of what strangers send, or users write.

    parsers.py   the parsers: bytes in, nothing but the errors that they promise out
    corpus/      inputs to begin from, one a line, backslashes escaped; a crash that was found is added here
    mutate.py    seeded mutations of them
"""
