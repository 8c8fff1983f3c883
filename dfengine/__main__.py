"""`python -m dfengine`."""

import sys

from dfengine.peer import visitor

if __name__ == "__main__":
    # Before the command line is imported: a peer server that nobody visits costs the download that started it next to nothing.
    visitor.await_first(sys.argv[1:])
    import signal

    # Until a command has its own way to end there is nothing to put away, and no stack to show.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from dfengine.cli import run

    run()
