"""What supernodes of one swarm tell each other through Redis: who is there, and which of them leads a task.

    beliefs       what one supernode may believe of that (pure)
    records       what it says of itself, sealed (pure)
    redis_facts   the same in Redis, by scripts
                  and how many downloads each supernode may send to an origin
    notices       what else each tells all others: sealed, numbered, for a time (pure)
    notice_board  who here tells and hears these
    membership    the thread that keeps this supernode known, and the questions of fetches

Start with `beliefs`. Nothing here is on the path of a pull: a fetch asks once who leads its task, and whatever Redis does, it is answered.
"""
