"""Misbehaving origins, each as a script of one server: results of `get` and of the supernode, with curl as the oracle.

    server       a raw-socket server that runs a script for each request
    answers      building blocks of scripts: a file server with one thing changed, and heads written byte by byte
    behaviour    a behaviour: script, expectation, options
    behaviours   all of them, by kind: validators ranges framing cuts refusals heads redirects requests sizes parts oddities
    oracle       curl's result for the same server
    run judge    one behaviour in one way, and faults in its outcome
    random_origins  origins drawn from a seed; soak random  many of them, in worker processes
"""
