"""The command line: it composes the other packages and holds no rule of theirs.

    cli      the commands `get`, `supernode` and `peer` for click, and configuration files
    command  what a command does: settings from flags, exit codes, `--json`, signals
    options  the table of flags of `get`, and a fast reader for plain command lines

Start with `options`. A `get` with a plain command line imports neither click nor `cli`.
"""
