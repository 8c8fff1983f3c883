"""The operators' interface of a supernode: `/api/v2`, and the page `/console` that uses it.

    routes, operations, handlers   the operations of the API: one table, from which `openapi` also makes the API's description
    api_types, queries, safe_json  the values of responses and their encoding, and the parameters of requests (pure)
    sampler, budget, rates         the figures of all tasks and hosts, gathered in steps within a share of the loop's time
    tasks, hosts, origins, cluster  lists of tasks, hosts, origins and supernodes
    swarm_watch, swarm_hosts       one task's swarm: a snapshot, and the changes since; its rows
    slowest                        the slowest host, and the reason (pure)
    preheats, overview             the preheats of /api/v1; sums over the supernode
    live                           the stream of server-sent events
    console_token, pages           permissions to read and change; the files of the page, in `static/`

The console is not on the path of a pull. Start with `operations` for the API, and with `live` for how its cost is bounded.
"""
