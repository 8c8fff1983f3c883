"""The client side: access control, requests and responses.

    access_control  access control and listening addresses (pure)
    listening     TCP and unix sockets
    requests      a parser of requests, with limits
    max_forwards  TRACE and OPTIONS requests that the proxy answers itself (pure)
    client_connection  one client's connection: consecutive requests, their responses and deadlines
    logged_connection  the same with an access log
    health        responses to probes
    interfaces    the interfaces that `client_connection` requires of its server and of the object that answers a request

Start with `client_connection`.
"""
