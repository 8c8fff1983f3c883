"""The command line: it composes the other packages and contains none of their rules.

    options        the table of options of all commands; option_kinds: the types of their values
    plain_parser   reads most command lines of `get` without click
    cli            builds click's commands from the table
    configuration  reads configuration files; environment, keywords: settings for programs
    help           the text that `--help` and docs/commands.md show for the table
    get_command    runs `get`: settings from options, exit codes, `--json`, signals
    home           path of the home directory
    output         results and failures as lines and as JSON objects
    url_batch      runs `get` for several files; batch_session: one display, one JSON object, one exit code for all of them
    file_list      the files to download, and their outputs; url_list: aria2's lists of URLs
    recursive_get  a directory: `--recursive`
    share_command  runs `share`; cache_command: `cache`; preheat_command: `preheat`
    reports        runs `status`, `tasks`, `hosts`; live_view: `top`; api_client: a supernode's `/api/v2`
    completion     completion of command lines in shells
    hosts_toml     `proxy hosts-toml`; dfdaemon: the settings of Dragonfly 1.x's dfdaemon
    compat         command lines under the names of Dragonfly 1.x's programs

Start with `options`. A `get` with a plain command line imports `get_command`, `output`, `plain_parser` and `options` only.
"""
