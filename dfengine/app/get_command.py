"""Runs `dfengine get` from the values of its options: checks them, downloads, prints the result.

Separate from `cli` because it must not import click: see `plain_parser`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

from dfengine.app import home, plain_parser
from dfengine.app.options import ENVIRONMENT
from dfengine.app.output import as_error, as_object, failed, print_flushed
from dfengine.errors import BadValue, DfengineError, StorageError
from dfengine.location import is_content
from dfengine.settings import HOME, GetSettings, origin_headers
from dfengine.storage.output_path import descriptor, opened, prepare, resolve_output, takes_stream, url_name
from dfengine.storage.path_protection import resolved
from dfengine.task import check_peer_port, check_task_url, is_url, redacted, redacted_url, shown, typed_url, without_raw_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from dfengine.client import Result
    from dfengine.client.progress import Bar

READER_GONE = 23
"""Exit code when the reader of stdout closed it, as in curl."""

SEVERAL = ("input_file", "jobs", "recursive", "include", "exclude", "delete", "dry_run")
"""Options for downloads of several files."""

legacy = False
"""Whether the program was called by 1.x's name, dfget."""

closed: tuple[int, ...] = ()
"""Descriptors of standard streams that were closed when the process began; they are opened on /dev/null."""


def fast(words: list[str]) -> None:
    """Run `dfengine get WORDS` to the end of the process, if the words are plain and there are no other settings; else return at once."""
    if any(name.startswith(ENVIRONMENT) for name in os.environ) or any(configuration_files()):
        return
    values = plain_parser.read(words)
    if values is not None:
        end(get, values)


def configuration_files() -> list[str]:
    """Paths of the YAML files with settings; later ones override earlier ones."""
    own = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    folders = ("/etc/dfengine", *(() if own.startswith("~") else (os.path.join(own, "dfengine"),)))
    found = []
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        found += [os.path.join(folder, name) for name in names if name.endswith((".yml", ".yaml"))]
    return found


def end(run: Any, values: dict[str, Any]) -> NoReturn:
    """Run, and end the process without finalizing the interpreter, which takes a large part of a small `get`. Its threads are
    joined and its files are closed by then."""
    try:
        run(values)
        code = 0
    except DfengineError as error:
        code = failed(error)
    except BrokenPipeError:
        code = READER_GONE
    except SystemExit as stop:
        if not isinstance(stop.code, int):
            raise
        code = stop.code
    leave(code)


def leave(code: int) -> NoReturn:
    """Flush stdout and stderr, and end the process."""
    if (tracing := sys.modules.get("dfengine.net.tracing")) is not None:
        tracing.flush()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = READER_GONE
    except (OSError, ValueError):
        code = code or StorageError.exit_code
    try:
        sys.stderr.flush()
    finally:
        os._exit(code)


def get(values: dict[str, Any]) -> None:
    """Run `_get`, with 1.x's output if `legacy`. With `--json` a failure is also printed as an object, and SystemExit is raised."""
    if not values.get("json"):
        if legacy:
            from dfengine.app import compat

            compat.run_and_print(_get, values)
        else:
            _get(values)
        return
    try:
        _get(values)
    except DfengineError as error:
        code = failed(error)
        with contextlib.suppress(StorageError):  # it may be stdout that failed
            _print_object(values, as_error(values, code, type(error).__name__, str(error), getattr(error, "status", 0)))
        sys.exit(code)
    except SystemExit as stop:
        message = getattr(stop, "message", "")
        if message:
            _print_object(values, as_error(values, int(stop.code or 0), "Interrupted", message))
        raise
    except BrokenPipeError:
        raise
    except Exception as error:
        _print_object(values, as_error(values, 1, type(error).__name__, str(error)))
        raise


def misused(words: list[str], message: str, code: int) -> None:
    """Report that the words after `dfengine get` are not a valid command line: with `--json` among them, also as an object."""
    if "--json" in words:
        # The words cannot be parsed: an output that may be stdout is treated as stdout.
        streams = {"-", "--stream"} & {word.partition("=")[2] or word.removeprefix("-o") for word in words}
        _print_object({"stream": bool(streams)}, as_error({"u": tuple(filter(is_url, words))}, code, "UsageError", message))


def _get(values: dict[str, Any]) -> Result | None:
    """Download with `values`: the given options of `options.GET`, and `address`. Returns the result of a single file, else None.

    Raises subclasses of DfengineError, SystemExit.
    """
    given = dict(values)
    placing = {name: given.pop(name, "") for name in ("output", "dir", "create_dirs", "remote_header_name", "skip_existing")}
    window, cache = (given.pop(name, None) for name in ("window", "cache"))
    stream, as_json, quiet, verbose, bar = (given.pop(name, False) for name in ("stream", "json", "quiet", "verbose", "showbar"))
    several = {name: given.pop(name, None) for name in SEVERAL}
    folders = tuple(each for each in given.get("address", ()) if several["recursive"] and not is_url(each))
    given["address"] = tuple(each for each in given.get("address", ()) if each not in folders)
    urls = _urls(given)
    if not urls and not several["input_file"]:
        raise BadValue("no URL is given: dfengine get URL -o FILE"
                       + ("; the value of -u holds no ://, so it is a user" if values.get("u") else ""))  # fmt: skip
    if not several["recursive"]:
        for url in urls:
            if len(urls) > 1 and ":" not in url:
                name = redacted_url(url)[:200]
                raise BadValue(f"{name} is not a URL: -o FILE names the output of one URL, -P DIR the directory of several")
            check_task_url(url)
    settings = _checked(given, quiet).replace(quiet=quiet, verbose=verbose and not quiet, report_digest=as_json)
    shows = bool(bar or (sys.stderr.isatty() and not quiet))
    if len(urls) != 1 or any(value for name, value in several.items() if name != "jobs"):
        from dfengine.app import url_batch

        one_file = len(urls) == 1 and not any(value for name, value in several.items() if name not in ("jobs", "dry_run"))
        named = placing["output"] and not (one_file and placing["output"] != "-")
        if stream or window or cache is not None or named or placing["remote_header_name"]:
            raise BadValue("-o, -J and the options of streams are for one download: use -P DIR, in which files are named by their URLs")
        url_batch.run(settings, urls, folders, {**placing, **several}, shows=shows, as_json=as_json)
        return None
    if stream and placing["output"] not in ("", "-"):
        raise BadValue("--stream writes to stdout: omit -o, or use -o -")
    device = "/dev/stdout" if stream or placing["output"] == "-" else _device(placing)
    if not device and (window or cache is not None):
        raise BadValue("--window and --cache are for streams: use -o -")
    stream = bool(device) and descriptor(device) == 1
    pieces, size = window or (0, 0)
    settings = settings.replace(
        url=urls[0], window=pieces, window_bytes=size, cache=-1 if cache is None else cache,
        output="-" if device else "", device="" if stream else device,
    )  # fmt: skip
    if device:
        _writable(device)
    else:
        began = time.monotonic()
        settings = settings.replace(output=_output(settings, placing))
        if settings.timeout and placing["remote_header_name"]:
            settings = settings.replace(timeout=max(0.001, settings.timeout - (time.monotonic() - began)))
        if placing["skip_existing"] and os.path.exists(settings.output):
            _skipped(settings, as_json)
            return None
        prepare(settings.output, bool(placing["create_dirs"]))
    result = _download(settings, shows, values)
    if as_json:
        _print_object(values, as_object(result))
    elif settings.nodes and settings.pattern != "source" and not quiet:
        from dfengine.client.progress_text import summary

        # The name of the output is printed for content, for which the user gave none.
        named = f"{shown(result.output)}: " if is_content(settings.url) and not (device or placing["output"]) else ""
        print(f"dfengine: {named}{summary(result)}", file=sys.stderr)
    elif result.back_to_source and not quiet:
        print(f"dfengine: fetched from the origin: {redacted(result.back_to_source)}", file=sys.stderr)
    return result


def _urls(given: dict[str, Any]) -> list[str]:
    """The URLs of all options and arguments, each once; sets `user` in `given` likewise. Raises BadValue."""
    first: tuple[str, ...] = given.pop("u", ())
    urls = [each for each in first if is_url(each)]
    users = [each for each in (*(each for each in first if not is_url(each)), given.pop("user", "")) if each]
    found = [typed_url(each) for each in (*urls, given.pop("url", ""), *given.pop("address", ())) if each]
    if len(set(users)) > 1:
        raise BadValue("two users are given: a download takes one")
    given["user"] = users[0] if users else ""
    if "-" in found:
        raise BadValue("- is not a URL: --input-file - reads URLs from stdin, -o - writes the file to stdout")
    return list(dict.fromkeys(found))


def _checked(given: dict[str, Any], quiet: bool) -> GetSettings:
    """Settings of a download, still without its URL. Raises BadValue, StorageError."""
    for name in ("accepted", "continue_at", "dfdaemon", "clientqueue"):
        given.pop(name, None)
    given["headers"] = origin_headers(given.pop("headers", ()), given.pop("range", ""), given.pop("user_agent", None))
    check_peer_port("--port", given.get("port") or 0)
    for name in ("filter", "identifier", "callsystem"):
        given[name] = without_raw_bytes(given.get(name, ""))
    given["nodes"] = tuple(dict.fromkeys(given.get("nodes", ())))
    given["netrc"] = bool(given.get("netrc") or given.get("netrc_file"))
    _find_home(given, quiet)
    return GetSettings(url="", output="", **given)


def _find_home(given: dict[str, Any], quiet: bool) -> None:
    """Set the home directory. A host without one serves no pieces. Raises StorageError for a given home that cannot be resolved."""
    # click passes the default as well.
    if given.get("home", HOME) != HOME:
        given["home"] = home.found(given["home"], "--home DIR")
    elif given.get("pattern", "p2p") == "p2p" and given["nodes"] and home.unknown():
        given["pattern"] = "cdn"
        if not quiet:
            print("dfengine: this host serves no peers: no home directory is known: set HOME, or use --home DIR", file=sys.stderr)


def _device(placing: dict[str, Any]) -> str:
    """The path of -o if it is a descriptor, a FIFO or a device; else ""."""
    output: str = placing["output"]
    if output and not placing["remote_header_name"]:
        path = os.path.join(str(placing["dir"]), output)
        if descriptor(path) >= 0 or takes_stream(path):
            resolved(path)  # raises for a link of another user in /tmp
            return path
    return ""


def _writable(device: str) -> None:
    """Check the descriptor of an output. Raises StorageError for a standard stream that was closed, BadValue for a terminal."""
    fd = descriptor(device)
    name = ("stdin", "stdout", "stderr")[fd] if 0 <= fd <= 2 else f"descriptor {fd}"
    if fd in closed:
        raise StorageError(f"{name} is closed, so nothing can be streamed to it: use -o FILE, or open it")
    if fd >= 0 and os.isatty(fd):
        raise BadValue(f"{name} is a terminal, and a file's bytes may confuse it: use -o FILE, or pipe it")


def _output(settings: GetSettings, placing: dict[str, Any]) -> str:
    """The path of the output file. Raises BadValue; with -J also the errors of a request to the origin."""
    output, folder = placing["output"], placing["dir"]
    if not placing["remote_header_name"]:
        return resolve_output(lambda: url_name(settings.url), output, folder)
    if output and not output.endswith("/") and not os.path.isdir(os.path.join(folder, output)):
        raise BadValue("-J names the output by the origin's header: omit -o, or give a directory")
    from dfengine.disposition import filename
    from dfengine.origin.schemes import disposition

    suggested = filename(disposition(settings))
    path = resolve_output(lambda: suggested or url_name(settings.url), output, folder)
    if suggested and os.path.lexists(path) and not (settings.force or placing["skip_existing"]):
        raise BadValue(f"the origin names the output {path}, which exists: --force replaces it, --skip-existing leaves it")
    return path


def _skipped(settings: GetSettings, as_json: bool) -> None:
    """Report that an existing output is skipped."""
    if not settings.quiet:
        print(f"dfengine: {settings.output} exists: skipped", file=sys.stderr)
    if as_json:
        import json

        print_flushed(json.dumps({"url": redacted_url(settings.url), "output": os.path.abspath(settings.output), "skipped": True}))


def _download(settings: GetSettings, bar: bool, values: dict[str, Any]) -> Result:
    from dfengine.client.interrupt import interruptible

    def run() -> Result:
        if not bar:
            return _fetch(settings, None)
        from dfengine.client.progress import Bar

        with Bar(settings.url.partition("?")[0] if settings.output == "-" else settings.output) as progress:
            return _fetch(settings, progress)

    def tell(code: int, kind: str, message: str) -> None:
        if values.get("json"):
            _print_object(values, as_error(values, code, kind, message))

    return interruptible(settings, run, tell)


def _fetch(settings: GetSettings, progress: Bar | None) -> Result:
    if settings.output == "-":
        try:
            return _stream(settings, progress)
        except BrokenPipeError:
            if settings.given and not settings.quiet:
                digests = " and ".join(map(str, settings.given))
                print(f"dfengine: the reader closed the stream before its end: {digests} was not compared", file=sys.stderr)
            raise
    from dfengine import client

    return client.get(settings, progress)


def _stream(settings: GetSettings, progress: Bar | None) -> Result:
    from dfengine.streaming import to_descriptor

    if not settings.device:
        return to_descriptor(settings, 1, progress)
    began = time.monotonic()
    with opened(settings.device, settings.timeout) as fd:
        return to_descriptor(settings, fd, progress, time.monotonic() - began).replace(output=settings.device)


def _print_object(values: dict[str, Any], fields: dict[str, Any]) -> None:
    """Print `--json`'s object on stdout, or on stderr if the file is streamed to stdout."""
    import json

    output = values.get("output") or ""
    streams = values.get("stream") or output == "-" or descriptor(os.path.join(values.get("dir") or "", output)) == 1
    if streams:
        print(json.dumps(fields), file=sys.stderr)
    else:
        print_flushed(json.dumps(fields))
