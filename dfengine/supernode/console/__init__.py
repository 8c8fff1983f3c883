"""What a supernode shows to those who operate it: `/api/v2`, and the page `/console` that is made of it.

    routes, operations, handlers   which request is answered by what; one table, of which `openapi` makes the API's description
    answers, queries, mended       the values of answers and how they are encoded, and the parameters of requests (pure)
    census, budget, rates          the figures of all tasks and hosts, gathered piecemeal within a share of the loop's time
    tasks, hosts, origins          lists of them
    swarm_watch, swarm_hosts       one task's swarm: a snapshot, and what changed since; its rows
    slowest                        which host is the slowest, and why (pure)
    preheats, overview             preheats as /api/v1 has them; sums
    live                           the stream of server-sent events
    console_token, pages           who may see and change what; the files of the page, in `static/`

Nothing here is on the way of a pull. Start with `operations` for what there is, and with `live` for how it is kept cheap.
"""
