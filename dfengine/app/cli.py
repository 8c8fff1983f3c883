"""The command line: composes the packages, and is the only module that reads configuration.

Settings are read from /etc/dfengine/*.yml, then $XDG_CONFIG_HOME/dfengine/*.yml, then the environment, then the command line; later ones
override earlier ones. The options are those of `options`.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from dfengine.about import VERSION
from dfengine.app import get_command, help, home, option_kinds, options, output, plain_parser
from dfengine.errors import BadValue, CallerError, DfengineError, StorageError
from dfengine.settings import PeerSettings, ProxySettings, SupernodeSettings
from dfengine.task import redacted, redacted_url

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from dfengine.proxy.forward.forward_settings import Forwarding

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF)
"""Errors of writes to stdout that are reported instead of raised."""


def configuration(paths: list[str]) -> dict[str, dict[str, Any]]:
    """`configuration.read`, which imports YAML only if there is a file."""
    if not paths:
        return {}
    from dfengine.app import configuration

    return configuration.read(paths)


class _Commands(click.Group):
    """Reads configuration files into click's defaults."""

    def invoke(self, ctx: click.Context) -> Any:
        ctx.default_map = configuration(get_command.configuration_files())
        return super().invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # A command line as of curl: a URL, with options before or after it.
        before = args[: next((n for n, each in enumerate(args) if "://" in each and not each.startswith("-")), 0) + 1]
        url = before[-1] if before and (before[0].startswith("-") or "://" in before[0]) else ""
        if "://" in url and not ctx.resilient_parsing and not {*self.commands, "-h", "--help", "-V", "--version"} & {*before}:
            raise click.UsageError(f"no command is named: did you mean `dfengine get {redacted_url(url)}`?", ctx)
        return super().parse_args(ctx, args)


class _Command(click.Command):
    """A command of the table. Its help shows the options by group, one line each, then examples."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # For an option that is used as in curl or wget, the error names the option that was meant.
        message = plain_parser.mistaken(args) if self.name == "get" else ""
        if message and not ctx.resilient_parsing and not set(ctx.help_option_names) & set(args):
            raise click.UsageError(message, ctx)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        import shutil  # importing it takes as long as building all options

        formatter.width = min(help.WIDTH, shutil.get_terminal_size((help.WIDTH, 24)).columns)
        super().format_help(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = help.rows(str(self.name))
        width = max(len(flags) for lines in rows.values() for flags, _ in lines)
        for group, lines in rows.items():
            with formatter.section(group):
                formatter.write_dl([(flags.ljust(width), text) for flags, text in lines], col_max=width)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for line in help.EXAMPLES[str(self.name)]:
                formatter.write(f"  {line}\n")
        formatter.write(f"\nConfiguration files and variables, such as {help.VARIABLES[str(self.name)]}, set options, too.\n")


class _Type(click.ParamType):  # type: ignore[type-arg]  # in click 8.2 it is not generic
    """click's type for one of `option_kinds.KINDS`."""

    def __init__(self, kind: str) -> None:
        self.name = kind
        self._read = option_kinds.KINDS[kind].read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._read(str(value))
        except CallerError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from dfengine.app import completion

        return completion.of_kind(self.name, incomplete)


class _Header(_Type):
    envvar_list_splitter = "\n"
    """Separator of several headers in one environment variable: a header contains spaces."""


def _click(role: str, option: options.Option) -> click.Option:
    """The table's option as click's. It has no default: options that are not given are left to the settings."""
    variable = None if option.hidden else option.variable(role)
    if option.kind == option_kinds.FLAG:
        return click.Option((*option.flags, option.name), is_flag=True, hidden=option.hidden, envvar=variable, help=option.help)
    kind = (_Header if option.kind == "header" else _Type)(option.kind)
    return click.Option(
        (*option.flags, option.name), type=kind, multiple=option.many, hidden=option.hidden, envvar=variable, help=option.help,
        callback=_flattened if option_kinds.KINDS[option.kind].listed and option.many else None,
    )


def _flattened(context: click.Context, param: click.Parameter, values: tuple[tuple[Any, ...], ...]) -> tuple[Any, ...]:
    """The values of all texts of a repeatable option, in one tuple."""
    return tuple(chain.from_iterable(values))


Result = TypeVar("Result")

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": help.WIDTH}

_version = click.version_option(VERSION, "-V", "--version", message="dfengine %(version)s", help="Print the version.")


@click.group(cls=_Commands, context_settings=CONTEXT)
@_version
def main() -> None:
    """Distribute files to many machines: every machine serves the pieces that it has to the others."""


def _argument(name: str, metavar: str, **more: Any) -> click.Argument:
    """A positional argument of click with completion. more: keywords of click.Argument."""
    return click.Argument((name,), metavar=metavar, shell_complete=_completed, **more)


def _completed(context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from dfengine.app import completion

    return completion.of_argument(str(context.command.name), str(param.name), incomplete)


def _command(run: Callable[..., None], *arguments: click.Argument) -> None:
    """Add a command with the name of `run` and its options of the table. `run` is called with the values that were given."""
    name = run.__name__

    def given(**values: Any) -> None:
        run({key: value for key, value in values.items() if value is not None})

    params = [*arguments, *(_click(name, option) for option in options.COMMANDS[name])]
    made = _Command(name, callback=given, params=params, help=run.__doc__, context_settings=CONTEXT)
    main.add_command(_version(made))


def get(values: dict[str, Any]) -> None:
    """Download URLs. Bytes come from peers and the supernode if one is given, else from the origin."""
    get_command.get(values)


def supernode(values: dict[str, Any]) -> None:
    """Run a supernode. It assigns pieces and sources to downloads, and keeps one copy of each file."""
    words = sys.argv[2:]
    settings = _supernode(click.get_current_context(), values)
    from dfengine.supernode.server import run_supernode

    run_supernode(settings, lambda: _again("supernode", words, _supernode))


def _supernode(context: click.Context, values: dict[str, Any]) -> SupernodeSettings:
    """Settings from the values that were given. Raises BadValue, StorageError."""
    config = values.pop("config", "")
    if config:
        stronger = configuration([config]).get("supernode", {})
        weaker = click.core.ParameterSource.DEFAULT, click.core.ParameterSource.DEFAULT_MAP
        for param in context.command.params:
            name = str(param.name)
            if stronger.get(name) is not None and name != "config" and context.get_parameter_source(name) in weaker:
                values[name] = param.process_value(context, stronger[name])
    _leave_out(values, options.SUPERNODE)
    if values.pop("debug", False):
        values.setdefault("log_level", "debug")
    values["home_dir"] = home.found(values.get("home_dir", SupernodeSettings.home_dir), "--home-dir DIR")
    return SupernodeSettings(**values)


def _again(role: str, words: list[str], made: Callable[[click.Context, dict[str, Any]], Result]) -> Result:
    """`made` of the same command line, with configuration files read again. Raises BadValue."""
    try:
        files = configuration(get_command.configuration_files()).get(role, {})
        context = main.commands[role].make_context(role, list(words), default_map=files)
        with context:
            return made(context, {name: value for name, value in context.params.items() if value is not None})
    except (click.ClickException, StorageError) as error:
        raise BadValue(error.format_message() if isinstance(error, click.ClickException) else str(error)) from None


def _leave_out(values: dict[str, Any], table: tuple[options.Option, ...]) -> None:
    """Remove options of 1.x without effect from `values`, and report them on stderr."""
    given = [option.flags[0] for option in table if option.ignored and values.pop(option.name, None)]
    if given:
        print(f"dfengine: accepted from Dragonfly 1.x, without effect: {', '.join(given)}", file=sys.stderr)


def peer(values: dict[str, Any]) -> None:
    """Serve this host's downloads to peers. `get` starts a peer server when the host has none."""
    from dfengine.peer import lazy_start
    from dfengine.peer.server import run_peer

    values["home"] = home.found(values.get("home", PeerSettings.home), "--home DIR")
    run_peer(PeerSettings(**values), lazy_start.stopped)


def proxy(values: dict[str, Any]) -> None:
    """Run a proxy for images, models and files. Programs send requests to it, and it fetches through the swarm.

    With hosts-toml: show or write the configuration of containerd, Docker, podman and others for this proxy. With ca: print the
    certificate that programs must trust if the proxy intercepts their https.
    """
    words = sys.argv[2:]
    what, folder = values.pop("what", ""), values.pop("write", "")
    settings, legacy = _proxy(click.get_current_context(), values)
    if what not in ("", "hosts-toml", "ca"):
        raise click.UsageError(f"{what[:40]!r} is not hosts-toml or ca", click.get_current_context())
    if what == "ca":
        from dfengine.app import hosts_toml

        hosts_toml.show_authority(settings)
        return
    if what:
        from dfengine.app import hosts_toml

        hosts_toml.show(settings, folder)
        return
    if folder:
        raise click.UsageError("--write is for hosts-toml", click.get_current_context())
    from dfengine.proxy.server import run_proxy

    settings = settings.replace(home=home.found(settings.home, "--home DIR"))

    def fresh() -> tuple[ProxySettings, Forwarding | None]:
        read, old = _again("proxy", words, _proxy)
        return read.replace(home=settings.home), old

    run_proxy(settings, legacy, fresh)


def _proxy(context: click.Context, values: dict[str, Any]) -> tuple[ProxySettings, Forwarding | None]:
    """Settings from the values that were given, and the forward proxy of a dfdaemon.yml. Raises BadValue."""
    legacy: Forwarding | None = None
    if path := values.pop("dfdaemon", ""):
        from dfengine.app import dfdaemon

        read, legacy, left = dfdaemon.read(path)
        values = {**read, **{name: value for name, value in values.items() if value != () and value is not False}}
        if left:
            print(f"dfengine: {path}: not supported, and ignored: {', '.join(left)}", file=sys.stderr)
    return ProxySettings(**{name: value for name, value in values.items() if name not in ("what", "write")}), legacy


def share(values: dict[str, Any]) -> None:
    """Share a file or directory with a swarm. No origin is needed: `get` downloads it by the printed name df:sha256:HEX."""
    from dfengine.app import share_command

    share_command.share(values)


def cache(values: dict[str, Any]) -> None:
    """Manage cached files of a host or supernode. The actions are ls, stat, pin, unpin, rm, import and export."""
    from dfengine.app import cache_command

    cache_command.cache(values)


def preheat(values: dict[str, Any]) -> None:
    """Have supernodes fetch files in advance. The words are URLs or images (docker://HOST/NAME:TAG); or ls, stat ID, cancel ID."""
    from dfengine.app import preheat_command

    preheat_command.preheat(values)


def status(values: dict[str, Any]) -> None:
    """Show totals of supernodes. These are downloads, delivered bytes, bytes saved at origins, hosts and free space."""
    from dfengine.app import reports

    reports.status(values)


def tasks(values: dict[str, Any]) -> None:
    """List tasks of supernodes. TEXT selects those with it in URL or task id; a TASK is shown with its downloads and their sources."""
    from dfengine.app import reports

    reports.tasks(values)


def hosts(values: dict[str, Any]) -> None:
    """List hosts of supernodes. TEXT selects by name, address, version or location; a row has rates, pieces in flight and trust."""
    from dfengine.app import reports

    reports.hosts(values)


def top(values: dict[str, Any]) -> None:
    """Show the busiest tasks and hosts. They are those of one supernode, refreshed until q is pressed."""
    from dfengine.app import live_view

    live_view.top(values)


_command(get, click.Argument(("address",), metavar="URL...", nargs=-1, required=False))
_command(supernode)
_command(peer)
_command(proxy, _argument("what", "[hosts-toml|ca]", required=False))
_command(share, _argument("path", "PATH"))
_command(cache, _argument("action", "ACTION"), _argument("words", "[NAME...] [FILE]", nargs=-1))
_command(preheat, _argument("words", "URL|IMAGE...", nargs=-1, required=True))
_command(status)
_command(tasks, _argument("text", "[TEXT|TASK]", required=False))
_command(hosts, _argument("text", "[TEXT]", required=False))
_command(top)


@main.command(short_help="Print a script for completion in a shell.")
@click.argument("shell", metavar="bash|zsh|fish", shell_complete=_completed)
def completion(shell: str) -> None:
    """Print a script that makes bash, zsh or fish complete command lines of dfengine: eval "$(dfengine completion bash)"."""
    from dfengine.app import completion

    output.print_flushed(completion.script(main, shell))


@main.command("install-compat", short_help="Make links with the names of Dragonfly 1.x's programs.")
@click.argument("folder", metavar="DIR", shell_complete=_completed)
def install_compat(folder: str) -> None:
    """Make links dfget, supernode and dfdaemon in DIR, with which scripts for Dragonfly 1.x run this program."""
    from dfengine.app import compat

    for path in compat.install(folder):
        output.print_flushed(path)


@main.command(short_help="Print the version.")
def version() -> None:
    """Print the version."""
    output.print_flushed(f"dfengine {VERSION}")


def run() -> NoReturn:
    """Run a command to the end of the process. A `get` ends as in `get_command.end`, the servers in the ordinary way."""
    code = 0
    try:
        code = main(prog_name="dfengine", standalone_mode=False) or 0
    except click.Abort:
        code = 130
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        code = error.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "dfengine"
        message = f"{redacted(error.format_message()).rstrip('.')}: see `{path} --help`"
        print(f"dfengine: {message}", file=sys.stderr)
        code = error.exit_code
        if sys.argv[1:2] == ["get"]:
            get_command.misused(sys.argv[2:], message, code)
        output.print_failure(sys.argv[1:], code, "UsageError", message)
    except click.ClickException as error:
        print(f"dfengine: {redacted(error.format_message())}", file=sys.stderr)
        code = error.exit_code
    except DfengineError as error:
        code = output.failed(error)
        output.print_failure(sys.argv[1:], code, type(error).__name__, str(error))
    except BrokenPipeError:
        get_command.leave(get_command.READER_GONE)
    except OSError as error:
        # click prints help and version.
        if error.errno not in UNWRITABLE or error.filename is not None:
            raise
        get_command.leave(output.failed(StorageError(f"cannot write to stdout: {error.strerror}")))
    except SystemExit as stop:
        if not isinstance(stop.code, int):
            raise
        code = stop.code
    if sys.argv[1:2] == ["get"]:
        get_command.leave(code)
    sys.exit(code)
