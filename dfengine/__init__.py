"""dfengine moves one file to many machines at once: every machine that has a piece serves it to the others.

Modules at this level are the pure core: values and arithmetic, no sockets, files or clocks. Packages are the
outside world, one per role: `net` (sockets), `storage` (files), `peer` (serves pieces), `client` (downloads),
`supernode` (decides who takes what from whom). `cli` composes them.

    import dfengine
    result = dfengine.get("http://origin/file", "file", nodes=["supernode:8002"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dfengine.settings import VERSION

if TYPE_CHECKING:
    from dfengine.client import Result

__version__ = VERSION
__all__ = ["__version__", "get"]


def get(url: str, output: str, *, nodes: list[str] | tuple[str, ...] = (), **settings: Any) -> Result:
    """Download `url` to the file `output`, from the swarm of the supernodes `nodes` (HOST[:PORT][=WEIGHT]) if there are any.

    Further settings are those of `dfengine.settings.GetSettings`. Raises subclasses of `dfengine.errors.DfengineError`.
    """
    from dfengine import client
    from dfengine.settings import GetSettings, Node

    return client.get(GetSettings(url=url, output=output, nodes=tuple(Node.parse(node) for node in nodes), **settings))
