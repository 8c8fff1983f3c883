"""Whatever speaks to origins: the servers that files come from.

    http        one URL: `HttpOrigin.open` at a byte, under a bound version, gives a `Body`; each redirect is decided here
    body        one request by libcurl, read into the caller's buffers
    head        what an answer's head says: framing, ranges, validators (pure)
    version     when two answers belong to one version of a file (pure)
    retry       which failures pass, and how long to wait (pure)
    work        which connection fetches which pieces (pure)
    claim       what one of a reader's threads is to fetch, and how quick its connection is (pure)
    giving_way  which connection is so slow that others go on with its pieces (pure)
    reader      the threads that fetch a file over several connections; `assignment`: who of them brings what next; `reader_on_demand`: what
                somebody asks for of it
    request, proxy, credentials    what a request says, by which proxy, in whose name
    reach       how origins of every kind are reached: whose credentials, which addresses, which files
    object_address, object_store, signature    objects of s3, gs and az: at which URL, signed by whom
    hub         the Hugging Face Hub: at which URL, with which token
    local_root, local_version    files of this machine's own disk: which ones, and of which version
    schemes     the table of schemes: which of these reads a URL; `kinds` says what all of them offer a reader
    content_origin  a file that is named by its sha256
    linked_origin   a file whose server redirects to a store, and says itself what it is
    signed_origin   a file whose own URL is closed, read by one that somebody signed
    object_origin, hub_origin, local_file    an object, a file of the Hub, a file of the disk, as origins
    listing     which files lie below a URL: `files`; listing_names and listing_index (pure) judge what an origin says
    image       the blobs of an image, read from its registry; image_name and image_manifest (pure) say where they are, and which
    tree_listing, refused_files, manifest_origin, tree_origin
                                                 a directory: its manifest, made of a listing; manifest and data as files that are read

Start with `version` and `work`: they hold the laws.
"""
