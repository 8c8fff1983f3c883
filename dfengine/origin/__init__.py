"""Clients of origins: the servers and directories that files are read from.

    http        one URL: `HttpOrigin.open` at a byte, under a bound version, returns a `Body`; it decides about each redirect
    body        one request by libcurl (`curl_transfers`), read into the caller's buffers
    head        the head of a response: framing, ranges, validators (pure)
    version     when two responses belong to one version of a file (pure); `response_comparison`: when two have the same bytes
    retry       which failures are transient, and the delay before a retry (pure)
    piece_claims  which connection fetches which pieces (pure)
    claim       the pieces that one of a reader's threads fetches, and the speed of its connection (pure)
    slow_connections  which connection is so slow that others continue with its pieces (pure)
    reader      the threads that fetch a file over several connections; `piece_sink`: where their bytes go;
                `claim_scheduler`: the pieces that each fetches next; `reader_on_demand`: a reader of the requested
                pieces only; `cancel` interrupts their waits
    connection_limits  how many connections each origin allows; `round_robin`: their turns; `receiving_limit`: how many receive at once
    request, environment_proxy, credentials  the headers of a request, its proxy, its credentials; `tls_options`: certificates for TLS;
                tls_verification (pure): how a server is verified, as part of a task's identity
    origin_settings  settings for origins of every kind: credentials, permitted addresses, permitted files
    object_address, object_store, signature    objects of s3, gs and az: their URLs, and the signatures of these
    hub         the Hugging Face Hub: URLs and tokens
    local_root, local_version    files of this machine's own disk: which ones may be read, and their versions
    schemes     the table of schemes: which of these modules reads a URL; `origin_interface`: what all of them offer to a reader
    content_origin  a file that is named by its sha256
    redirected_origin  a file whose server states the validator and the length, and redirects to a store
    signed_origin   a file whose own URL is not public, read by a signed URL
    object_origin, hub_origin, local_file    an object, a file of the Hub, a file of the disk, as origins
    listing     `files`: the files below a URL, by one module for each kind of origin: listing_file, listing_http, listing_hub,
                listing_objects, listing_s3; listing_names and listing_index (pure) check the origin's responses
    container_image  the blobs of an image, read from its registry; image_name and image_manifest (pure): their URLs, and which blobs
                there are; challenge (pure): the authentication that a registry requires
    tree_listing, refused_files, manifest_origin, tree_origin
                                                 a directory: its manifest, made of a listing; manifest and data as files that are read

Start with `version` and `piece_claims`: they define the invariants.
"""
