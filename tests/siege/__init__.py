"""A siege: one hostile client beside ten honest downloads, by real processes.

    enemy.py     the hostile client's process: what every attack needs
    floods.py    attacks by asking for much: requests, connections, bytes that nobody reads
    claims.py    attacks by saying what is not so: lengths, pieces, addresses, numbers
    field.py     origin, supernode and the ten downloads; what an attack cost them
"""
