"""`python -m tests.chaos.short ...`: dfengine with shorter deadlines and no other differences."""

from __future__ import annotations

from typing import Any

SHORT: dict[str, dict[str, float | int]] = {
    "client.fetch": {"SILENCE": 0.6, "FIRST_BYTE": 0.4, "GRACE": 0.6},
    "client.piece_timing": {"MIN_SILENCE": 0.3, "MAX_SILENCE": 0.4},
    "client.native": {"PARK": 2.0, "FINAL_TIMEOUT": 0.5},
    "client.supernode_answer": {"QUIET": 0.5, "PING_INTERVAL": 1.0},
    "client.pull_timing": {"PARK": 2.0, "GRACE": 0.8, "ALIVE": 3.0},
    "client.supernode_session": {"REGISTRATION_TIMEOUT": 3.0},
    "client.swarm_session": {"RETRY": 3.0, "RETRY_NOTBS": 6.0},
    "client.progress_timeout": {"IDLE": 3.0},
    "supernode.origin_fetches": {"HEAD_SECONDS": 4.0, "MIN_LEASE": 5.0, "MIN_RATE": 1 << 20},
    "supernode.copies.origin_reading": {"MIN_RATE": 1 << 20},
    "supernode.api_native": {"MAX_WAIT": 2.0},
    "origin.body": {"SILENCE": 1.0},
    "origin.http": {"SILENCE": 1.0},
    "origin.retry": {"FIRST_PAUSE": 0.05},
    "origin.claim_scheduler": {"STALLED": 0.5},
    "origin.claim": {"WINDOW": 0.2},
    "origin.slow_connections": {"PATIENCE": 0.2, "QUIET": 0.6},
    "origin.reader": {"UNANSWERED": 1.5},
}
LONGEST = 30.0
"""Seconds within which every run with these deadlines must end."""


def shorten() -> None:
    """Replace the constants. Raises AttributeError if one does not exist."""
    import importlib

    for name, values in SHORT.items():
        module: Any = importlib.import_module(f"dfengine.{name}")
        for key, value in values.items():
            assert isinstance(getattr(module, key), (int, float)), f"{name}.{key}"
            setattr(module, key, value)


if __name__ == "__main__":
    shorten()
    from dfengine.app import cli

    cli.run()
