"""The native pull in Cython, from the bytes of a request to the bytes of its answer, without Python objects per field.

What is outside uses one function, `Pulls(state, park).answer(data, line, client)`. Its contract:

* It returns None for whatever is not exactly one plain pull, and has then changed nothing: the caller asks `router`, which alone may
  refuse.
* Otherwise it does what the router would have done: the same bytes of the answer, or the same future of a parked pull, and the same state
  of the swarm afterwards. `tests/swarm/test_plain_pulls.py` holds both ways together.
* A plain pull is a whole HTTP/1.1 request without unusual headers (`net/_request.pxd`) to `/swarm/pull`, whose JSON has no white space and
  nothing but done, ending, want, wait, una and end (`_plain_pull.pxd`), all of it within the task, from the address that registered.
* `Pulls.answered` counts the pulls that were answered at once; those that were parked are counted by `park`.

    _plain_pull  reads the JSON of a pull
    _pulls       runs it through the engine and writes the answer

docs/performance.md says what it buys over msgspec.
"""

from dfengine.supernode.fastpath._pulls import Pulls

__all__ = ["Pulls"]
