"""The S3 facade: read-only buckets, path-style.

    request, bucket, error, xml, page, object_head   requests and responses (pure)
    signature            authentication (pure)
    objects, head_reader, parts    versions of objects, their parts, and the sources of their bytes
    listings, store_pages   listings of buckets
    answer               how a request is answered; uncached_object: without the disk, if it is full
    facade               the routes

Start with `facade`.
"""
