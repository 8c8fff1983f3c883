"""Chaos: real processes with a faulty proxy between any two of them.

    proxy.py   forwards bytes and, at seeded points, cuts, truncates, stalls, delays, trickles, duplicates, flips
    short.py   the program with short deadlines, so that a run lasts a second where a user would wait half a minute
    world.py   origin, supernode and a serving peer, a proxy on every link
    run.py     one seeded run, and what must hold after it
"""
