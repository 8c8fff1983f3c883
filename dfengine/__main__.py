"""`python -m dfengine`."""

from dfengine.cli import main

if __name__ == "__main__":
    main(prog_name="dfengine")
