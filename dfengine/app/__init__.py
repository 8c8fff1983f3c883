"""The command line: it composes the other packages and contains none of their rules.

    options        the table of options of all commands; kinds: the types of their values
    plain          reads most command lines of `get` without click
    cli            builds click's commands from the table
    configuration  reads configuration files
    help           the text that `--help` and docs/commands.md show for the table
    command        runs `get`: settings from options, exit codes, `--json`, signals
    home           path of the home directory
    printing       results and failures as lines and as JSON objects
    many           runs `get` for several files; session: one display, one JSON object, one exit code for all of them
    wanted         the files to download, and their outputs; url_list: aria2's lists of URLs
    tree           a directory: `--recursive`
    sharing        runs `share`; caching: `cache`; preheating: `preheat`
    observing      runs `status`, `tasks`, `hosts`; live_view: `top`; node_view: a supernode's `/api/v2`
    completing     completion of command lines in shells
    mirroring      `proxy hosts-toml`; dfdaemon: the settings of Dragonfly 1.x's dfdaemon
    compat         command lines under the names of Dragonfly 1.x's programs

Start with `options`. A `get` with a plain command line imports `command`, `printing`, `plain` and `options` only.
"""
