"""The side of registries, hubs and origins: connections to them, and responses that are passed on.

    upstreams, connection   the pool of connections; one connection
    tunnel           connections through a proxy that the environment names
    own_request      a request of the proxy's own, with a small response
    permissions      access rights, as a registry or hub states them; timeouts: response timeouts, and silent servers (pure)
    pass_through     a request that is passed on unchanged, with bounded memory in both directions
    withheld_tail    the last part of a response, withheld until its digest is compared (pure)

Start with `pass_through`.
"""
