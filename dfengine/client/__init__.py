"""Downloads one file: registers with a supernode, fetches pieces from several sources, falls back to the origin.

    download, result                    one download, from the first question to the renamed file, and how it went
    download_dialer                     its connections, which any thread can cut
    identity, messages                  who it is, and what it says
    swarm_session                       pulls from the swarm, survives the loss of a supernode
    supernodes                          which supernodes are tried
    supernode_session, native, legacy   one registration, and the two ways of pulling
    silent_nodes, node_answer           supernodes that do not answer (pure); waits for an answer, and finds early that none comes
    pull_timing, doubts, progress_timeout  when to send the next request, which pieces were wanted in vain, when to give up
    watch                               what the main thread checks between two waits
    plan, job, health, piece_timing     what is fetched next and from whom (pure)
    plan_of_file                        the same where others of the host wait for certain pieces
    plan_on_demand, priority, on_demand the same where readers ask for pieces; engine: the thread of a download that a program reads from
    transfer, receiving, fetch          the threads that fetch, and what they share
    connection_pool, throttle           kept connections, and the limit on bytes received
    assembly, digest, finished          the file being put together, its whole digest, what a finished output is
    tree, tree_tasks, tree_files, tree_place, tree_result
                                        a whole directory: its manifest, then the data of all its files, which it scatters into them
    from_origin, origin_lease           the origin, and permission to go there; returning: back to the swarm
    joining, pulse, leader_place, copying  downloads of one host: who leads and runs, where its pieces are, how one of them is copied
    present_version                     whether what such a leader has is still the present version: a supernode says so
    kept_copy                           what the host keeps in memory of downloads that have ended
    joined_file, page_waiter            a download into a file that copies all of them; the threads that wait in a leader's page
    releasing                           closes what a download holds, also where a signal interrupts it
    local_peer, leaving                 this host's peer server, no child of ours (`_detached`); telling supernodes of the end
    sharing                             gives a file of this host to the swarm
    withdrawing                         ends that this host serves something
    host_cache, node_cache              what this host serves, and a supernode's copies, seen and steered
    interrupt, watchdog                 signals and the deadline
    batch, batch_progress, pooled       many downloads of one process, what they have done together, what they share
    progress, meter, byte_counts        what people are shown

A piece is received and verified in `fetch`. Start with `plan` for decisions and `swarm_session` for the order of events. Threads and
blocking sockets, because a small download is judged by its start-up and a large one by what runs without the GIL.
"""

from __future__ import annotations

from dfengine.client.download import get
from dfengine.client.result import Result

__all__ = ["Result", "get"]
