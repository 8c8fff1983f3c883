"""Whatever speaks to origins: the servers that files come from.

    http        one URL: `HttpOrigin.open` at a byte, under a bound version, gives a `Body`; each redirect is decided here
    body        one request by libcurl, read into the caller's buffers
    head        what an answer's head says: framing, ranges, validators (pure)
    version     when two answers belong to one version of a file (pure)
    retry       which failures pass, and how long to wait (pure)
    work        which connection fetches which pieces (pure)
    claim       what one of a reader's threads is to fetch (pure)
    reader      the threads that fetch a file over several connections; `reader_on_demand`: what somebody asks for of it
    request, proxy, credentials    what a request says, by which proxy, in whose name

Start with `version` and `work`: they hold the laws. Other kinds of origin offer what `http.HttpOrigin` offers.
"""
