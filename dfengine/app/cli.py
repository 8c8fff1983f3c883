"""The command line: composes the roles, and is the only place that reads configuration.

Settings come from /etc/dfengine/*.yml, then $XDG_CONFIG_HOME/dfengine/*.yml, then the environment, then flags.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

from dfengine.app import command, options
from dfengine.errors import BadValue, CallerError, DfengineError, StorageError
from dfengine.settings import VERSION
from dfengine.task import shown

COMMANDS = ("get", "supernode", "peer")

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF)
"""Why stdout takes nothing."""


def _read(path: str) -> dict[str, dict[str, Any]]:
    """One YAML file: a mapping from command to its flags' names and values. Raises BadValue."""
    import yaml

    try:
        with open(path, "rb") as file:
            content = yaml.safe_load(file.read(1 << 20))
    except (OSError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadValue(f"configuration {path} cannot be read: {' '.join(str(error).split())}") from None
    content = {} if content is None else content
    if not isinstance(content, dict) or not all(isinstance(part, dict) for part in content.values()):
        raise BadValue(f"configuration {path} is not a mapping of {', '.join(COMMANDS)} to settings")
    found: dict[str, dict[str, Any]] = {}
    for role, part in content.items():
        known = {param.name: param for param in main.commands[role].params} if role in COMMANDS else {}
        for name, value in part.items():
            param = known.get(str(name).replace("-", "_"))
            if not isinstance(param, click.Option) or param.hidden or not param.expose_value:
                raise BadValue(f"configuration {path}: {role}.{name} is not a setting")
            found.setdefault(role, {})[str(param.name)] = _text(value, param.multiple, f"configuration {path}: {role}.{name}")
    return found


def _text(value: Any, many: bool, where: str) -> Any:
    """A value of YAML as the flag's text, or texts; None: as if it were not there. Raises BadValue for what is no text."""
    if many and not isinstance(value, list):
        value = [value]
    for each in value if many else [value]:
        if not isinstance(each, str | int | float | None):
            raise BadValue(f"{where} is {type(each).__name__}: write it as the flag's value")
    if many:
        return [str(each) for each in value if each is not None]
    return value if value is None else str(value)


def configuration(paths: list[str]) -> dict[str, dict[str, Any]]:
    """The files' settings by command, later files stronger. Raises BadValue."""
    merged: dict[str, dict[str, Any]] = {}
    for path in paths:
        for role, part in _read(path).items():
            merged.setdefault(role, {}).update(part)
    return merged


class _Group(click.Group):
    """Reads configuration files into click's defaults."""

    def invoke(self, ctx: click.Context) -> Any:
        ctx.default_map = configuration(command.configuration_files())
        return super().invoke(ctx)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and "://" in args[0]:
            raise click.UsageError(f"no command is named, as in `dfengine get {args[0]}`", ctx)
        return super().resolve_command(ctx, args)


class _Get(click.Command):
    """Answers a flag that is used as curl or wget uses it with the one that was meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        said = options.mistaken(args)
        if said and not set(ctx.help_option_names) & set(args):
            raise click.UsageError(said, ctx)
        return super().parse_args(ctx, args)


class _Type(click.ParamType):  # type: ignore[type-arg]  # click 8.2 has it, and not as a generic
    """One of `options.KINDS`."""

    def __init__(self, kind: str) -> None:
        self.name = kind
        self._parse = options.KINDS[kind]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._parse(str(value))
        except CallerError as error:
            self.fail(str(error), param, ctx)


class _Header(_Type):
    envvar_list_splitter = "\n"
    """Several in one environment variable: a header holds spaces."""


RATE, SIZE, SPAN, PORT, DIR, ADDRESS = map(_Type, ("rate", "size", "duration", "port", "dir", "address"))
PLACE = "HOST|ADDRESS|CIDR"


def _click(option: options.Option) -> Callable[[Any], Any]:
    """The table's option as click's."""
    if option.kind == options.FLAG:
        return click.option(*option.flags, option.name, is_flag=True, help=option.help)
    kind = str if option.kind == "text" else (_Header if option.kind == "header" else _Type)(option.kind)
    more: dict[str, Any] = {"default": option.default, "show_default": True} if option.default else {}
    if option.kind == options.PATTERN:
        more["metavar"] = f"[{options.PATTERN}]"
    return click.option(*option.flags, option.name, type=kind, multiple=option.many, help=option.help, **more)


def _all(table: tuple[options.Option, ...]) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        for option in reversed(table):
            function = _click(option)(function)
        return function

    return decorate


CONTEXT = {"help_option_names": ["-h", "--help"], "auto_envvar_prefix": command.ENVIRONMENT, "max_content_width": 100}


_version = click.version_option(VERSION, "-V", "--version", message="dfengine %(version)s", help="Print the version.")


@click.group(cls=_Group, context_settings=CONTEXT)
@_version
def main() -> None:
    """Move one file to many machines at once: every machine that has a piece serves it to the others."""


@main.command(cls=_Get)
@_version
@click.argument("address", metavar="URL", required=False)
@_all(options.GET)
def get(**values: Any) -> None:
    """Download URL: from peers where they have it, from the supernode, or from the origin."""
    command.get({name: value for name, value in values.items() if value is not None})


@main.command()
@_version
@click.option("--port", type=PORT, default=8002, show_default=True, help="Control port, 0 for any free one.")
@click.option("--download-port", type=PORT, default=8001, show_default=True, help="Port that serves pieces, 0 for any free one.")
@click.option("--host", type=ADDRESS, default="0.0.0.0", show_default=True, help="Address to listen on.")
@click.option("--home-dir", type=DIR, default="~/.dfengine/supernode", show_default=True, help="Where cached files lie.")
@click.option("--advertise-ip", type=ADDRESS, default="", help="Address that clients reach this supernode by.")
@click.option("--up-limit", type=click.IntRange(1, 10000), default=5, show_default=True, help="Pieces that one peer sends at once.")
@click.option("--down-limit", type=click.IntRange(1, 10000), default=4, show_default=True,
              help="Pieces that one 1.x download receives at once; a get has up to 8 under way.")
@click.option("--supernode-limit", type=click.IntRange(1, 10000), default=5, show_default=True,
              help="Pieces of one task that the supernode sends at once.")
@click.option("--origin-limit", type=click.IntRange(0, 1000000), default=16, show_default=True,
              help="Downloads that may be at one origin by themselves at once; 0: any number.")
@click.option("--origin-connections", type=click.IntRange(1, 16), default=4, show_default=True,
              help="Connections to one origin at once for each file.")
@click.option("--max-bandwidth", type=RATE, default="0", help="Send at most RATE bytes per second in all.")
@click.option("--fail-access-interval", type=SPAN, default="3m", show_default=True, help="Remember an unreachable URL this long.")
@click.option("--task-expire-time", type=SPAN, default="3m", show_default=True,
              help="Forget an unused task after this time; its copy stays on disk.")
@click.option("--peer-gc-delay", type=SPAN, default="6m", show_default=True, help="Forget a silent peer after this time.")
@click.option("--revalidate-interval", type=SPAN, default="3s", show_default=True,
              help="Trust a cached copy this long before asking the origin.")
@click.option("--max-length", type=SIZE, default="4T", show_default=True, help="Refuse files that are longer.")
@click.option("--disk-low", type=SIZE, default="1G", show_default=True, help="Make room when less than this is free.")
@click.option("--disk-high", type=SIZE, default="5G", show_default=True, help="Make room until this is free.")
@click.option("--client-share", type=click.IntRange(1, 100), default=75, show_default=True,
              help="Percent of the connections and registrations that one client may have.")
@click.option("--origin-allow", multiple=True, metavar=PLACE, help="Fetch from this host, address or CIDR only; may be given again.")
@click.option("--origin-deny", multiple=True, metavar=PLACE, help="Never fetch from this host, address or CIDR; may be given again.")
@_all(options.TRUST)
@click.option("--config", type=click.Path(dir_okay=False), help="One more YAML file, stronger than the others.")
@click.pass_context
def supernode(ctx: click.Context, /, config: str | None, **values: Any) -> None:
    """Decide who takes what from whom, and keep one copy of each file."""
    if config and ctx.parent is not None:
        stronger = configuration([config]).get("supernode", {})
        ctx.default_map = {**(ctx.default_map or {}), **stronger}
        given = click.core.ParameterSource.DEFAULT, click.core.ParameterSource.DEFAULT_MAP
        for param in ctx.command.params:
            if param.name in stronger and ctx.get_parameter_source(param.name) in given:
                values[param.name] = param.type_cast_value(ctx, stronger[param.name])
    from dfengine.settings import SupernodeSettings
    from dfengine.supernode.server import run_supernode

    values["home_dir"] = command.home(values["home_dir"], "--home-dir")
    run_supernode(SupernodeSettings(**values))


@main.command()
@_version
@click.option("--home", type=DIR, default="~/.dfengine", show_default=True, help="Directory whose downloads are served.")
@click.option("--ip", type=ADDRESS, default="", help="Address to listen on.")
@click.option("--port", type=PORT, default=0, help="15000..65000; a free one by default.")
@click.option("--totallimit", type=RATE, default="0", help="Send at most RATE bytes per second in all.")
@click.option("--alivetime", type=SPAN, default="5m", show_default=True, help="End after this idle time.")
@_all(options.TRUST)
@click.option("--socket-fd", type=int, default=-1, hidden=True)
@click.option("--lock-fd", type=int, default=-1, hidden=True)
@click.option("--handover-fd", type=int, default=-1, hidden=True)
def peer(**values: Any) -> None:
    """Serve this host's downloads to others. `get` starts it by itself."""
    from dfengine.peer import lazy_start
    from dfengine.peer.server import run_peer
    from dfengine.settings import PeerSettings

    values["home"] = command.home(values["home"], "--home")
    run_peer(PeerSettings(**values), lazy_start.stopped)


@main.command()
def version() -> None:
    """Print the version."""
    command.put(f"dfengine {VERSION}")


def run() -> NoReturn:
    """The whole process of a command. A `get` ends as `command.end` says, the servers in the ordinary way."""
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
        message = f"{shown(error.format_message()).rstrip('.')}: see `{path} --help`"
        print(f"dfengine: {message}", file=sys.stderr)
        code = error.exit_code
        if sys.argv[1:2] == ["get"]:
            command.misused(sys.argv[2:], message, code)
    except click.ClickException as error:
        print(f"dfengine: {shown(error.format_message())}", file=sys.stderr)
        code = error.exit_code
    except DfengineError as error:
        code = command.failed(error)
    except BrokenPipeError:
        command.leave(command.READER_GONE)
    except OSError as error:
        # click prints help and version.
        if error.errno not in UNWRITABLE or error.filename is not None:
            raise
        command.leave(command.failed(StorageError(f"cannot write to stdout: {error.strerror}")))
    except SystemExit as stop:
        if not isinstance(stop.code, int):
            raise
        code = stop.code
    if sys.argv[1:2] == ["get"]:
        command.leave(code)
    sys.exit(code)
