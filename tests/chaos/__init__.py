"""Chaos tests: real processes with faulty proxies between them and damaged or full disks, which are stopped or killed at any moment.

    proxy.py      forwards bytes and, at seeded points, cuts, truncates, stalls, delays, trickles, duplicates, flips
    trouble.py    faults other than on links; damage.py, full_disk.py, frozen.py, mute.py, signals.py have a kind each
    scenario.py   the parameters of a run, drawn from its seed
    short.py      the program with short deadlines, so that a run takes a second instead of half a minute
    world.py      origin, supernode and a serving peer, a proxy on every link
    run.py        one run, and the conditions checked after it
    left.py       processes, files and descriptors that runs left behind
"""
