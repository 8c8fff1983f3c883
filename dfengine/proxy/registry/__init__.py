"""Container registries: their users, blobs and manifests.

    mirror            what a request asks for, of which registry, and what answers it
    logins, tokens    users of the proxy's own (pure); what they show a registry
    opening           a request that waits for that
    blob_answer       how a request for a blob is answered
    manifests         manifests that are kept for when their registry does not answer
    manifest_answer   how one that is named by its digest is answered: from here, or through the swarm
    client_files      the configuration by which programs that pull images ask this proxy (pure)
"""
