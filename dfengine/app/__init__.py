"""The command line: it composes the other packages and holds no rule of theirs.

    options        the table of options of all commands; kinds: what their values are
    plain          reads most command lines of `get` without click
    cli            makes click's commands of the table
    configuration  reads configuration files
    help           what `--help` and docs/commands.md say of the table
    command        what `get` does: settings from options, exit codes, `--json`, signals
    home           where the home directory is
    printing       results and failures as lines and as objects
    many           the same of several files; session: one display, one JSON object, one exit code
    wanted         which files, and where each is put; url_list: aria2's lists of URLs
    tree           a directory: `--recursive`
    sharing        what `share` does; caching: `cache`; preheating: `preheat`
    observing      `status`, `tasks`, `hosts`; live_view: `top`; node_view: a supernode's `/api/v2`
    completing     command lines in shells
    mirroring      `proxy hosts-toml`; dfdaemon: the settings of Dragonfly 1.x's dfdaemon
    compat         runs by the names of Dragonfly 1.x's programs

Start with `options`. A `get` with a plain command line imports `command`, `printing`, `plain` and `options` only.
"""
