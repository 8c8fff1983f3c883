"""The forward proxy.

    rules, shared_cache  the rule for a URL, and what may be shared (pure)
    forward_settings     settings: rules, intercepted hosts and ports of CONNECT
    origin_heads         heads of origins' responses, requested in advance
    forward_answer       how a request is answered
    connect_handler      CONNECT: a tunnel (relay; `splice` if both sides are plain sockets), or interception of https
    certificate_authority  certificates of intercepted hosts

Start with `forward_answer`.
"""
