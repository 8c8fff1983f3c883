"""A file that a program opens and seeks in: pieces are fetched when they are read.

    read_ahead   what is fetched before a reader asks for it (pure)
"""
