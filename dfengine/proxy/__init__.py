"""`dfengine proxy`: stands where other programs ask for images, models, buckets, packages and files, and brings them through the swarm.

    reference       which registry and what of it a request names (pure)
    registries      which registries may be asked, and how (pure)
    fields          header fields: which are passed on, how a body is framed (pure)
    requests        bytes of a client to requests, with limits
    front           one client's connection: one request after another, its answer, its deadlines
    logged_front    the same with an access log; health: what probes are answered
    exchange        what `front` asks of that which answers a request
    passing         a request that is passed on untouched, both ways with bounded memory
    withheld        the last part of an answer that a digest names, until it was compared (pure)
    upstream, line  connections to registries and other servers, and which of them are kept; one of them
    tunnel          connections to registries that a proxy of the environment makes
    question        a request of the proxy's own, with a small answer
    logins, tokens, opening   users of the proxy's own (pure); what they show a registry; a request that waits for that
    permissions     who may have what of a registry (asks it); silence: registries that say nothing
    ranges          which bytes a request asks for, and whether it wants them (pure)
    blobs, blob     blobs of this host and how each is answered; one that comes through the swarm
    answering       a request for a file, until it is known what answers it
    manifests       manifests that are kept for when their registry does not answer
    manifest_answer   how one that is named by its digest is answered: from here, or through the swarm
    file_answer, serving, encrypted_serving   status, head and ranges of an answer with a file; send it from there as it comes
    hub             model hubs: hub_reference, hub_fields (pure) and hub_api say what is asked and what is told, git_file compares
    s3_door         read-only buckets, path-style: s3_request, s3_bucket, s3_error, s3_xml, s3_page, s3_told (pure) say what is asked and
                    told, s3_signature (pure) who asks; s3_objects and s3_look what an object is and where its bytes are, s3_listings
                    and s3_store_pages what a bucket holds, s3_answer how a request is answered, s3_direct where the disk is full
    forward         the forward proxy: targets, rules and shared_cache (pure) say what is asked, by which rule, and what may be shared;
                    origin_heads asks origins what they would answer; forwarding is how it is set up
    connecting      CONNECT: a tunnel unseen (relay; splicing where both sides are plain sockets), or https that is read here
    authority       certificates of intercepted hosts
    store           the blobs that are whole and right; eviction: which of these leave; pins: which never do
    working         brings blobs that supernodes wish to have here
    announcing      public blobs of this host, made known to the swarm
    guard           who may use the proxy, and where it listens (pure)
    client_files    the configuration by which programs that pull images ask this proxy (pure)
    secret_files    files of tokens, passwords and keys
    server          the process

Start with `front`: every answer goes out there. It runs on one event loop; what waits for pieces does so in the download engine's threads.
"""
