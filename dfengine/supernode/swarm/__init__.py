"""The swarm engine: a pure state machine. Events with `now` go in, assignments with leases come out.

    swarm                         the events: join, pull, arrived, failed, evicted, leave, tick
    scheduler, _scheduler         which pieces a download gets now, and from whom
    _rarity, _holders             how many have each piece, and who
    _sources, locality            which of the holders is asked: nearest first, then least loaded
    leases, deadlines             a piece on its way, and when it is given up
    reports, _exchange            what becomes of a piece: each transition with the slot it frees
    parking, _line, _bitset_tree  pulls that wait, and which one an event can answer
    stragglers                    downloads on slow links
    trust                         sources that are not asked any more, and why
    peers, members, task_state    who is there
    origin_leases                 permission to go to an origin directly
    invariant                     every law, recounted from scratch; for tests

A piece is chosen in `_scheduler`, a slot comes back in `leases` (`release`). Start with `swarm`.
"""
