"""Decides who takes what from whom, and keeps one copy of each file.

`swarm` and the modules that it names are a pure state machine; `server` and the modules that it names touch the world.
"""
