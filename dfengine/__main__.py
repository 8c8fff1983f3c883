"""`python -m dfengine`."""

from dfengine.cli import run

if __name__ == "__main__":
    run()
