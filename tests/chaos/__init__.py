"""Chaos: real processes with a faulty proxy between any two of them, on disks that lie and fill up, stopped and ended at any moment.

    proxy.py      forwards bytes and, at seeded points, cuts, truncates, stalls, delays, trickles, duplicates, flips
    trouble.py    what a run is troubled by besides; damage.py, full_disk.py, frozen.py, mute.py, signals.py hold a kind each
    scenario.py   what a run is, drawn from its seed
    short.py      the program with short deadlines, so that a run lasts a second where a user would wait half a minute
    world.py      origin, supernode and a serving peer, a proxy on every link
    run.py        one run, and what must hold after it
    left.py       what runs left behind
"""
