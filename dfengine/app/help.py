"""Text that `--help` and docs/commands.md show for the table of options."""

from __future__ import annotations

from typing import Any

from dfengine.app.option_kinds import CHOICES, FLAG
from dfengine.app.options import COMMANDS, OTHER, Option
from dfengine.settings import GetSettings, PeerSettings, ProxySettings, ShareSettings, SupernodeSettings

WIDTH = 100
"""Characters of the longest line of `--help`."""

SETTINGS = {"get": GetSettings, "supernode": SupernodeSettings, "peer": PeerSettings, "proxy": ProxySettings, "share": ShareSettings,
            "cache": GetSettings, "preheat": GetSettings, "status": None, "tasks": None, "hosts": None, "top": None}

EXAMPLES = {
    "get": (
        "dfengine get http://ORIGIN/FILE -o FILE",
        "dfengine get http://ORIGIN/FILE -n SUPERNODE1 -n SUPERNODE2 --digest sha256:HEX",
        "dfengine get http://ORIGIN/FILE.tar -n SUPERNODE -o - | tar x",
        "dfengine get --input-file URLS -P DIR -n SUPERNODE",
        "dfengine get --recursive hf://ORG/NAME DIR -n SUPERNODE",
    ),
    "supernode": (
        "dfengine supernode --home-dir /var/lib/dfengine --max-bandwidth 1G",
        "dfengine supernode --origin-allow .example.com --secret-file /etc/dfengine/secret",
    ),
    "peer": ("dfengine peer --home ~/.dfengine --totallimit 100M --alivetime 0",),
    "proxy": (
        "dfengine proxy --registry https://registry.example.com -n SUPERNODE",
        "dfengine proxy --listen 0.0.0.0:65001 --allow 10.0.0.0/8 -n SUPERNODE",
        "dfengine proxy hosts-toml --registry https://registry.example.com --write /etc",
    ),
    "cache": (
        "dfengine cache ls --json",
        "dfengine cache export df:sha256:HEX model.bin --home /var/lib/dfengine-peer",
        "dfengine cache import model.bin -n SUPERNODE --ttl 7d",
        "dfengine cache pin df:sha256:HEX -n SUPERNODE",
    ),
    "preheat": (
        "dfengine preheat docker://registry.example.com/app:1.0 -n SUPERNODE --wait",
        "dfengine preheat http://ORIGIN/FILE -n SUPERNODE --pin",
        "dfengine preheat ls -n SUPERNODE --json",
        "dfengine preheat cancel HEX -n SUPERNODE",
    ),
    "status": ("dfengine status -n SUPERNODE", "dfengine status -n SUPERNODE1 -n SUPERNODE2 --json"),
    "tasks": ("dfengine tasks --active -n SUPERNODE", "dfengine tasks registry.example.com -n SUPERNODE",
              "dfengine tasks TASK -n SUPERNODE"),
    "hosts": ("dfengine hosts -n SUPERNODE --sort blocked_by", "dfengine hosts web- -n SUPERNODE --json"),
    "top": ("dfengine top -n SUPERNODE", "dfengine top -n SUPERNODE --json --interval 10s"),
    "share": (
        "dfengine share model.bin -n SUPERNODE",
        "dfengine share model.bin -n SUPERNODE1 -n SUPERNODE2 --replicas 2 --ttl 7d",
    ),
}

VARIABLES = {"get": "DFENGINE_GET_NODES", "supernode": "DFENGINE_SUPERNODE_HOME_DIR", "peer": "DFENGINE_PEER_TOTALLIMIT",
             "proxy": "DFENGINE_PROXY_NODES", "share": "DFENGINE_SHARE_NODES",
             "cache": "DFENGINE_CACHE_HOME", "preheat": "DFENGINE_PREHEAT_NODES",
             "status": "DFENGINE_STATUS_NODES", "tasks": "DFENGINE_TASKS_NODES", "hosts": "DFENGINE_HOSTS_NODES",
             "top": "DFENGINE_TOP_NODES"}
"""One environment variable of each command, as an example."""

_SCALES = {"T": 1 << 40, "G": 1 << 30, "M": 1 << 20, "K": 1 << 10}.items()

ALWAYS = (("-V, --version", "Print the version"), ("-h, --help", "Show this help"))
"""Options that every command has."""


def groups(command: str) -> dict[str, list[Option]]:
    """The command's visible options, by group."""
    found: dict[str, list[Option]] = {}
    for option in COMMANDS[command]:
        if not option.hidden:
            found.setdefault(option.group, []).append(option)
    return found


def rows(command: str) -> dict[str, list[tuple[str, str]]]:
    """By group, for each option: its flags with the name of their value, and one line of help."""
    found = {group: [(_left(option), _line(command, option)) for option in options] for group, options in groups(command).items()}
    found.setdefault(OTHER, []).extend(ALWAYS)
    return found


def value(option: Option) -> str:
    """Name of the option's value, such as `RATE`; "" for a flag."""
    if option.kind == FLAG:
        return ""
    return option.kind if option.kind in CHOICES else option.kind.upper()


def default(command: str, option: Option) -> str:
    """The default as a user would write it, its meaning, or both; "" if there is none."""
    own = _written(option, getattr(SETTINGS[command], option.name, None))
    return f"{own}, {option.default}" if own and option.default else own or option.default


def _left(option: Option) -> str:
    return " ".join(filter(None, (", ".join(option.flags), value(option))))


def _line(command: str, option: Option) -> str:
    text = default(command, option)
    return f"{option.help} [default: {text}]" if text else option.help


def _written(option: Option, own: Any) -> str:
    """The setting's value in the form that the option accepts; "" for values that mean "not set"."""
    if own is None or own == () or own == -1 or option.kind in (FLAG, "pieces|size"):
        return ""
    if option.kind in ("rate", "size"):
        scale, letter = next(((scale, letter) for letter, scale in _SCALES if own and own % scale == 0), (1, ""))
        return f"{own // scale}{letter}"
    if option.kind == "duration" and own:
        return f"{own / 3600:g}h" if own % 3600 == 0 else f"{own / 60:g}m" if own % 60 == 0 else f"{own:g}s"
    return f"{own:g}" if isinstance(own, float) else str(own)
