"""The command line: composes the roles, and is the only place that reads configuration or formats results.

Settings come from /etc/dfengine/*.yml, then $XDG_CONFIG_HOME/dfengine/*.yml, then the environment, then flags.
Everything but click is imported when a command needs it, because a small `get` is judged by its start-up.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dfengine.errors import BadValue, CallerError, DfengineError

if TYPE_CHECKING:
    from dfengine.client import Result
    from dfengine.settings import GetSettings

COMMANDS = ("get", "supernode", "peer")


def _folders() -> Iterator[str]:
    yield "/etc/dfengine"
    yield os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "dfengine")


def _files(folder: str) -> list[str]:
    try:
        return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith((".yml", ".yaml")))
    except OSError:
        return []


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
    for command, part in content.items():
        known = {param.name for param in main.commands[command].params} if command in COMMANDS else set()
        for name in part:
            if str(name).replace("-", "_") not in known:
                raise BadValue(f"configuration {path}: {command}.{name} is not a setting")
    return {command: {str(name).replace("-", "_"): value for name, value in part.items()} for command, part in content.items()}


def configuration(paths: list[str]) -> dict[str, dict[str, Any]]:
    """The files' settings by command, later files stronger. Raises BadValue."""
    merged: dict[str, dict[str, Any]] = {}
    for path in paths:
        for command, part in _read(path).items():
            merged.setdefault(command, {}).update(part)
    return merged


class _Group(click.Group):
    """Reads configuration files into click's defaults, and turns dfengine's errors into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            ctx.default_map = configuration([path for folder in _folders() for path in _files(folder)])
            return super().invoke(ctx)
        except DfengineError as error:
            _fail(error)
        except BrokenPipeError:
            # As curl does when its reader is gone: nothing to say, and stdout must not be flushed again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(23)


def _fail(error: DfengineError) -> NoReturn:
    print(f"dfengine: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


def _typed(name: str, parse: Callable[[str], Any], between: str | None = None) -> click.ParamType[Any]:
    """between: what separates several values in an environment variable, None: white space."""

    class _Type(click.ParamType[Any]):
        envvar_list_splitter = between

        def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
            try:
                return parse(str(value))
            except CallerError as error:
                self.fail(str(error), param, ctx)

    _Type.name = name
    return _Type()


def _settings(name: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        from dfengine import settings

        return getattr(settings, name)(text)

    return parse


RATE = _typed("rate", _settings("parse_rate"))
SIZE = _typed("size", _settings("parse_size"))
WINDOW = _typed("pieces|size", _settings("parse_window"))
SPAN = _typed("duration", _settings("parse_duration"))
HEADER = _typed("header", _settings("parse_header"), "\n")
NODE = _typed("host[:port][=weight]", lambda text: _node(text))
DIGEST = _typed("algorithm:hex", lambda text: _digest(text))
PORT = click.IntRange(0, 65535)


def _node(text: str) -> Any:
    from dfengine.settings import Node

    return Node.parse(text)


def _digest(text: str) -> Any:
    from dfengine.task import Digest

    return Digest.parse(text)


CONTEXT = {"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "DFENGINE", "max_content_width": 100}


SECRET = click.option("--secret-file", default="", help="File with the swarm's secret; who does not have it is served nothing.")

TLS_CERT = click.option("--tls-cert", default="", help="PEM file of this host's certificate: speak TLS to supernodes and peers.")
TLS_KEY = click.option("--tls-key", default="", help="PEM file of its key, if that is not in the certificate's file.")
TLS_CA = click.option("--tls-ca", default="", help="PEM file of the swarm's certificate authority; who is not certified by it is refused.")


@click.group(cls=_Group, context_settings=CONTEXT)
def main() -> None:
    """Move one file to many machines at once: every machine that has a piece serves it to the others."""


@main.command()
@click.argument("address", metavar="URL", required=False)
@click.option("-u", "--url", help="The same as URL.")
@click.option("-o", "--output", help="File to write, - to stream to stdout; the URL's last segment in this directory by default.")
@click.option("--stream", is_flag=True, help="Write the file to stdout in order, through a window in memory; the same as -o -.")
@click.option("--window", type=WINDOW, default=None, help="Of a stream: pieces (16) or bytes (256M) fetched ahead of its reader.")
@click.option("--cache", type=SIZE, default=None, help="Of a stream: bytes kept in memory for other peers after they were read.")
@click.option("-n", "--node", "nodes", type=NODE, multiple=True, help="Supernode, HOST[:PORT][=WEIGHT]; may be given again.")
@click.option("-p", "--pattern", type=click.Choice(["p2p", "cdn", "source"]), default="p2p", show_default=True,
              help="p2p: peers and supernode; cdn: the supernode only; source: the origin only.")
@click.option("--notbs", is_flag=True, help="Never go back to the origin when the swarm fails.")
@click.option("-f", "--filter", "filter_", default="", help="Query parameters that do not tell files apart, as a&b.")
@click.option("-i", "--identifier", default="", help="Tells apart files of one URL.")
@click.option("-m", "--md5", default="", help="The file's expected md5; part of the task's identity.")
@click.option("--digest", type=DIGEST, help="The file's expected digest: sha256, blake3, xxh3 or md5, a colon, hex.")
@click.option("--header", "headers", type=HEADER, multiple=True, help="Header for the origin, 'Name: value'; may be given again.")
@click.option("-s", "--locallimit", type=RATE, default="0", help="Receive at most RATE bytes per second, as 20M.")
@click.option("--totallimit", type=RATE, default="0", help="This host's peer server sends at most RATE bytes per second.")
@click.option("--minrate", type=RATE, default="64K", show_default=True, help="Leave a source that is slower than RATE.")
@click.option("-e", "--timeout", type=SPAN, default="0", help="Give up after this time, as 90 or 5m.")
@click.option("--ip", default="", help="This host's address for its peers.")
@click.option("--port", type=PORT, default=0, help="This host's port for its peers, 15000..65000; a free one by default.")
@click.option("--home", default="~/.dfengine", show_default=True, help="Where this host's peer server keeps its records.")
@click.option("--alivetime", type=SPAN, default="5m", show_default=True, help="The peer server ends after this idle time.")
@click.option("--expiretime", type=SPAN, default="3m", show_default=True, help="Serve the file this long after its last use.")
@click.option("--cacerts", multiple=True, help="PEM file of certificates to trust for the origin; may be given again.")
@click.option("--insecure", is_flag=True, help="Do not verify the origin's certificate.")
@click.option("--callsystem", default="", help="Name of the calling system, for the supernode's metrics.")
@SECRET
@TLS_CERT
@TLS_KEY
@TLS_CA
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object about the download on stdout.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
@click.option("--verbose", is_flag=True, help="Say on stderr what happens.")
@click.option("-b", "--showbar", is_flag=True, help="Show the progress bar even when stderr is no terminal.")
def get(address: str | None, url: str | None, output: str | None, nodes: tuple[Any, ...], filter_: str, as_json: bool, quiet: bool,
        verbose: bool, showbar: bool, port: int, stream: bool, window: tuple[int, int] | None, cache: int | None, **values: Any) -> None:
    """Download URL: from peers where they have it, from the supernode, or from the origin."""
    from dfengine.settings import GetSettings
    from dfengine.task import PEER_PORTS, check_url

    url = url or address
    if not url or (address and url != address):
        raise click.UsageError("give one URL")
    check_url(url)
    if port and port not in PEER_PORTS:
        raise click.BadParameter("a peer serves on 15000..65000", param_hint="--port")
    if stream and output not in (None, "-"):
        raise click.UsageError("--stream writes to stdout: leave -o out, or say -o -")
    stream = stream or output == "-"
    if not stream and (window or cache is not None):
        raise click.UsageError("--window and --cache belong to a stream: say -o -")
    pieces, size = window or (0, 0)
    values.update(window=pieces, window_bytes=size, cache=-1 if cache is None else cache)
    settings = GetSettings(url=url, output="-" if stream else _output(url, output), nodes=_distinct(nodes), filter=filter_, port=port,
                           verbose=verbose and not quiet, report_digest=as_json, **values)
    result = _download(settings, bar=showbar or (sys.stderr.isatty() and not quiet))
    if as_json:
        click.echo(json.dumps(as_object(result)), err=stream)
    elif result.back_to_source and not quiet:
        print(f"dfengine: fetched from the origin: {result.back_to_source}", file=sys.stderr)


def _distinct(nodes: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(nodes))


def _output(url: str, output: str | None) -> str:
    """The path to write: `output`, in it if it is a directory, or the URL's last segment here."""
    if output and not os.path.isdir(output):
        return output
    from urllib.parse import unquote, urlsplit

    name = os.path.basename(unquote(urlsplit(url).path))
    if not name or name in (".", "..") or "\0" in name:
        raise click.UsageError("the URL names no file: say which with -o FILE")
    return os.path.join(output or "", name)


def _download(settings: GetSettings, bar: bool) -> Result:
    from dfengine.client import get

    if settings.output == "-":
        from dfengine.stream import to_descriptor

        fetch = partial(to_descriptor, settings, 1)
    else:
        fetch = partial(get, settings)

    def stop(number: int, _: object) -> None:
        raise _Signalled(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        if not bar:
            return fetch()
        from dfengine.client.progress import Bar

        with Bar(settings.output) as progress:
            return fetch(progress.show)
    except _Signalled as signalled:
        again = "" if settings.output == "-" else f"; run it again to go on from here ({settings.output})"
        print(f"dfengine: stopped{again}", file=sys.stderr)
        sys.exit(128 + signalled.number)


class _Signalled(BaseException):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def as_object(result: Result) -> dict[str, Any]:
    """What `--json` prints; lengths in bytes, times in seconds."""
    return {
        "url": result.url,
        "output": result.output,
        "task_id": result.task_id,
        "length": result.length,
        "seconds": round(result.seconds, 3),
        "from": {
            "peers": result.from_peers,
            "supernode": result.from_supernode,
            "origin": result.from_origin,
            "resumed": result.resumed,
        },
        "digest": result.digest,
        "back_to_source": result.back_to_source,
        "hedged": result.hedged,
    }


@main.command()
@click.option("--port", type=PORT, default=8002, show_default=True, help="Control port, 0 for any free one.")
@click.option("--download-port", type=PORT, default=8001, show_default=True, help="Port that serves pieces, 0 for any free one.")
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")
@click.option("--home-dir", default="~/.dfengine/supernode", show_default=True, help="Where cached files lie.")
@click.option("--advertise-ip", default="", help="Address that clients reach this supernode by.")
@click.option("--up-limit", type=click.IntRange(1, 10000), default=5, show_default=True, help="Pieces that one peer sends at once.")
@click.option("--down-limit", type=click.IntRange(1, 10000), default=4, show_default=True,
              help="Pieces that one download receives at once.")
@click.option("--supernode-limit", type=click.IntRange(1, 10000), default=5, show_default=True,
              help="Pieces of one task that the supernode sends at once.")
@click.option("--origin-limit", type=click.IntRange(0, 1000000), default=16, show_default=True,
              help="Downloads that may be at one origin by themselves at once; 0: any number.")
@click.option("--max-bandwidth", type=RATE, default="0", help="Send at most RATE bytes per second in all.")
@click.option("--fail-access-interval", type=SPAN, default="3m", show_default=True, help="Remember an unreachable URL this long.")
@click.option("--task-expire-time", type=SPAN, default="3m", show_default=True,
              help="Forget an unused task after this time; its copy stays on disk.")
@click.option("--peer-gc-delay", type=SPAN, default="6m", show_default=True, help="Forget a silent peer after this time.")
@click.option("--revalidate-interval", type=SPAN, default="3s", show_default=True,
              help="Trust a cached copy this long before asking the origin.")
@click.option("--disk-low", type=SIZE, default="1G", show_default=True, help="Make room when less than this is free.")
@click.option("--disk-high", type=SIZE, default="5G", show_default=True, help="Make room until this is free.")
@click.option("--origin-allow", multiple=True, help="Fetch from this host, address or CIDR only; may be given again.")
@click.option("--origin-deny", multiple=True, help="Never fetch from this host, address or CIDR; may be given again.")
@SECRET
@TLS_CERT
@TLS_KEY
@TLS_CA
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

    run_supernode(SupernodeSettings(**values))


@main.command()
@click.option("--home", default="~/.dfengine", show_default=True, help="Directory whose downloads are served.")
@click.option("--ip", default="", help="Address to listen on.")
@click.option("--port", type=PORT, default=0, help="15000..65000; a free one by default.")
@click.option("--totallimit", type=RATE, default="0", help="Send at most RATE bytes per second in all.")
@click.option("--alivetime", type=SPAN, default="5m", show_default=True, help="End after this idle time.")
@SECRET
@TLS_CERT
@TLS_KEY
@TLS_CA
@click.option("--socket-fd", type=int, default=-1, hidden=True)
@click.option("--lock-fd", type=int, default=-1, hidden=True)
@click.option("--handover-fd", type=int, default=-1, hidden=True)
def peer(**values: Any) -> None:
    """Serve this host's downloads to others. `get` starts it by itself."""
    from dfengine.peer import visitor
    from dfengine.peer.server import run_peer
    from dfengine.settings import PeerSettings

    run_peer(PeerSettings(**values), visitor.stopped)


@main.command()
def version() -> None:
    """Print the version."""
    from dfengine import __version__

    click.echo(f"dfengine {__version__}")


def run() -> NoReturn:
    """The whole process of a command.

    Taking the interpreter apart would be a good part of a small `get`, which has joined its threads and closed its
    files by now; the servers end in the ordinary way.
    """
    try:
        main(prog_name="dfengine")
    except SystemExit as end:
        if sys.argv[1:2] != ["get"] or not isinstance(end.code, int):
            raise
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            raise end from None
        os._exit(end.code)
    sys.exit(0)
