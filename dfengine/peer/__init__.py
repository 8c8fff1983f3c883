"""Serves the pieces of this host's downloads to other hosts."""
