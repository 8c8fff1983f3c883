"""The forward proxy.

    rules, shared_cache  by which rule a URL falls, and what may be shared (pure)
    configured           rules, intercepted hosts and ports of CONNECT, as they are set up
    origin_heads         asks origins what they would answer
    forward_answer       how a request is answered
    connecting           CONNECT: a tunnel unseen (relay; splicing where both sides are plain sockets), or https that is read here
    authority            certificates of intercepted hosts
"""
