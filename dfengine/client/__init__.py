"""Downloads one file: registers with a supernode, fetches pieces from several sources, falls back to the origin.

    download, result                    one download, from the first request to the renamed file; its result
    download_dialer                     its connections, which any thread can cut
    identity, messages                  identity of a download, and the messages that it sends
    swarm_session                       pulls from the swarm, survives the loss of a supernode; fallback: when the origin may be read
    supernodes                          selection of the supernodes to try
    supernode_session, native, legacy   one registration, and the two pull protocols
    silent_nodes, supernode_answer      supernodes that do not answer (pure); waits for an answer, detects early that none will arrive
    pull_timing, progress_timeout       when to send the next request, when to give up
    unoffered_pieces                    wanted pieces that a supernode does not offer (pure)
    monitor                             checks of the main thread between two waits
    plan, job, source_health, piece_timing  which piece is fetched next, and from which source (pure)
    plan_of_file                        the same where other downloads of the host wait for certain pieces
    plan_on_demand, priority, on_demand the same where readers ask for pieces;
                                        `download_thread`: the download's thread while a program reads from it
    transfer, job_connections, fetch    the fetch threads; transfer_state: their shared state
    thread_start, wakeup                starts threads, and wakes them
    connection_pool, throttle           idle connections for reuse, and the limit on bytes received
    piece_storage, assembly             where pieces are collected, and how a file is assembled
    digest, finished, error_urls        the whole file's digest, reuse of finished outputs, URLs in errors
    tree_fetch, tree_tasks, tree_files, tree_place, tree_result
                                        a whole directory: its manifest, then the data of all its files, which it scatters into them
    from_origin, origin_lease           fetching from the origin, and permission for that; swarm_recovery: back to the swarm
    host_leader_client, heartbeat       downloads of one host: which of them leads, and whether it is alive
    leader_place, copying               the pieces of such a leader; copying of a piece
    present_version                     asks a supernode whether such a leader's version is still the present one
    kept_copy, passed_memory            ended downloads whose data the host keeps in memory, as memory passed to its peer server
    file_from_leader, leader_page_waiter  a download into a file that copies all pieces of a leader; threads that wait in the leader's page
    cleanup                             releases a download's resources, also where a signal interrupts it
    local_peer, eviction_reports        this host's peer server, which is not a child process (`_detached`); notifying supernodes of the end
    sharing                             shares a file of this host with the swarm
    withdrawal                          withdraws what this host serves
    host_cache, node_cache              list and control what this host serves, and a supernode's copies
    interrupt, watchdog                 signals and the deadline
    batch, batch_progress, shared_resources  many downloads of one process, their combined progress, their shared resources
    progress, progress_text, byte_counts  display for people

A piece is received and verified in `fetch`. Start with `plan` for decisions and `swarm_session` for the order of events. The client uses
threads and blocking sockets: start-up time dominates a small download, and code that runs without the GIL dominates a large one.
"""

from __future__ import annotations

from dfengine.client.download import get
from dfengine.client.result import Result

__all__ = ["Result", "get"]
