"""Sockets and nothing else: heads, sendfile, receiving into place, limits, origins."""
