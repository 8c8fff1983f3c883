"""The side of registries, hubs and origins: connections to them, and what is passed on.

    upstreams, connection   which connections are kept; one of them
    tunnel           connections that a proxy of the environment makes
    question         a request of the proxy's own, with a small answer
    permissions      who may have what of a registry or hub (asks it); silence: how long answers are awaited, and who said nothing (pure)
    passing          a request that is passed on untouched, both ways with bounded memory
    withheld         the last part of an answer that a digest names, until it was compared (pure)
"""
