"""The S3 facade: buckets to read, path-style.

    request, bucket, error, xml, page, told   what is asked and what is told (pure)
    signature            who asks (pure)
    objects, look, parts    what an object is, what its parts are, and where its bytes are
    listings, store_pages   what a bucket holds
    answer               how a request is answered; direct: where the disk is full
    facade               the routes
"""
