"""The S3 facade: buckets to read, path-style.

    request, bucket, error, xml, page, object_head   requests and answers (pure)
    signature            who asks (pure)
    objects, head_reader, parts    what an object is, what its parts are, and where its bytes are
    listings, store_pages   what a bucket holds
    answer               how a request is answered; direct: where the disk is full
    facade               the routes
"""
