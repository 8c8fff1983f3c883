"""Container registries: their users, blobs and manifests.

    mirror            the registry and content of a request, and the exchange that answers it
    logins, tokens    users of the proxy's own (pure); their tokens
    token_request     a request that waits for such a token
    blob_answer       how a request for a blob is answered
    manifests         manifests that are stored for when their registry does not respond
    manifest_answer   how a manifest that is named by its digest is answered: from disk, or through the swarm
    client_files      the configuration by which programs that pull images use this proxy (pure)

Start with `mirror`.
"""
