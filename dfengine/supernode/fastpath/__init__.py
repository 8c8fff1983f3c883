"""The native pull in Cython, from the bytes of a request to the bytes of its response, without Python objects per field.

Other packages use one function, `Pulls(state, park).answer(data, line, client)`. Its contract:

* It returns None for anything but exactly one plain pull, and has changed nothing then. The caller passes the request to `router`, which
  alone may refuse it.
* Otherwise it has the effect of the router: the same bytes of the response, or the same future of a parked pull, and the same state of the
  swarm afterwards. `tests/swarm/test_plain_pulls.py` compares both.
* A plain pull is a whole HTTP/1.1 request without unusual headers (`net/_request.pxd`) to `/swarm/pull`. Its JSON has no white space and
  no fields but done, ending, want, wait, una and end (`_plain_pull.pxd`), all within the task, from the address that registered.
* `Pulls.answered` counts the pulls that were answered at once; `park` counts the parked ones.

    _plain_pull  decodes the JSON of a pull
    _pulls       runs the pull through the engine and writes the response

docs/performance.md states the gain over msgspec. Start with `_pulls`.
"""

from dfengine.supernode.fastpath._pulls import Pulls

__all__ = ["Pulls"]
