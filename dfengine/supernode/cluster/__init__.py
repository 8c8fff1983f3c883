"""The cluster: supernodes of one swarm that agree through Redis on its members and on the leader of each task.

    cluster_view  one supernode's view of members and leaders (pure)
    member_records  the sealed record of a member (pure)
    redis_scripts  members and leaders in Redis, and how many downloads each supernode may send to an origin, by scripts; `redis_url` (pure)
    request_threads  requests to Redis with a time limit
    lead_releases  the leads that this supernode gives up (pure)
    notices       sealed, numbered messages to all members, each valid for a time (pure)
    notice_exchange  sends and receives notices at this supernode
    membership    the thread that keeps this supernode a member, and the requests of fetches

Start with `cluster_view`. The cluster is not on the path of a pull: a fetch requests its task's leader once, and
proceeds whatever Redis does.
"""
