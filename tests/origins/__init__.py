"""Origins that behave badly, each as a script of one server: what `get` and the supernode make of them, with curl as the oracle.

    server       a raw-socket server that runs a script for each request
    answers      what scripts are made of: a file server with one thing changed, and heads written byte by byte
    behaviour    a behaviour: script, expectation, options
    behaviours   all of them, by kind: validators ranges framing cuts refusals heads redirects requests sizes parts oddities
    oracle       what curl does with the same server
    run judge    one behaviour one way, and what is wrong with the outcome
    random_origins  origins drawn from a seed; soak random  many of them, in worker processes
"""
