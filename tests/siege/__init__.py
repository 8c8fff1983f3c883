"""Siege tests: one hostile client beside ten honest downloads, with real processes.

    enemy.py     the hostile client's process, with the functions that attacks share
    floods.py    attacks by volume: requests, connections, responses that are not read
    claims.py    attacks by false claims: lengths, pieces, addresses, numbers
    field.py     origin, supernode and the ten downloads; measures the cost of an attack
"""
