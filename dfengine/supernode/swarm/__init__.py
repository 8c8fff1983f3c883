"""The swarm engine: a pure state machine. Events with `now` go in, assignments with leases come out.

    swarm                         the events: join, pull, arrived, failed, evicted, leave, tick
    scheduler, _piece_picker      which piece a download gets next, and from which source; pull_result: these as values
    _scheduler                    the answer to one pull
    selections                    pulls that request certain pieces
    _rarity, _holders             number of copies of each piece, and its holders
    locality                      how near a source is
    transitions                   the states of a piece at a download, and every change of them
    leases, deadlines             slots in use, and items by deadline
    reseed_deferral               tasks that share the supernode's link, because the same hosts download them
    supernode_slots               which of the supernode's slots are in use
    parking, _bitset_tree         parked pulls, and which of them an event makes answerable
    stragglers                    downloads on slow links
    trust                         which sources are avoided, and why; verification_limits: how many complaints are checked
    _state, peers                 tasks, peers and their downloads; small_set, limits
    origin_leases, origin_quota   permission to read an origin directly, and this supernode's part of it in a cluster

A piece is chosen in `_piece_picker`, a slot is freed in `leases` (`free_slot`). Start with `swarm`.
"""
