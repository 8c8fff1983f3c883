"""The native pull in Cython: a request that is exactly a pull is read, decided and answered without Python objects per field.

    _pulls       reads such a request from the connection's bytes, runs it through the engine and writes the answer
    _plain_pull  the JSON of a pull, as clients of this version write it

Contract: for every request the answer is the one that `router` gives, or the request is left to `router`. docs/scale.md says what it buys.
"""
