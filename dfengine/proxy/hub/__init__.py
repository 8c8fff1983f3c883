"""Model hubs.

    reference, fields   what a request names; what is changed in an answer (pure)
    api                 the hub's listings
    xet_names           what clients are told of Xet's servers, so that they ask this proxy (pure)
    rewriting           an answer whose JSON is changed
    xet                 ranges of xorbs through the swarm, and Xet's own API
    hub_answer          which files come through the swarm, and who may have them
    git_file            compares a small file with its git digest
"""
