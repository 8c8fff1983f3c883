"""`python -m dfengine`."""

import sys

from dfengine.peer import visitor

if __name__ == "__main__":
    # Before the command line is imported: a peer server that nobody visits costs the download that started it next to nothing.
    visitor.await_first(sys.argv[1:])
    from dfengine.cli import run

    run()
