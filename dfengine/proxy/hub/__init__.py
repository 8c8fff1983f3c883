"""Model hubs.

    reference, response_changes  what a request names; changes to responses (pure)
    api                 the hub's API
    xet_names           URLs of Xet's servers, rewritten so that clients ask this proxy (pure)
    rewriting           a response whose JSON is changed
    xet                 ranges of xorbs through the swarm, and Xet's own API
    hub_answer          files that are fetched through the swarm, and access to them
    git_file            verifies a small file by its git digest

Start with `hub_answer`.
"""
