"""Model hubs.

    reference, fields   what a request names; what is changed in an answer (pure)
    api                 the hub's listings
    hub_answer          which files come through the swarm, and who may have them
    git_file            compares a small file with its git digest
"""
