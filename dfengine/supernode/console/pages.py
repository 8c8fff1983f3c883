"""The files of the page `/console`: they hold no data, and all clients may read them."""

from __future__ import annotations

from importlib.resources import files

from dfengine.net.http import Response

PAGES = "/console"

TYPES = {
    "html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml",
}  # fmt: skip
"""Extension of a file -> its media type."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Scripts, styles and connections only from this supernode, and no text that becomes markup."""

HEADERS = (
    ("Content-Security-Policy", POLICY), ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Resource-Policy", "same-origin"), ("Cache-Control", "no-cache"),
)  # fmt: skip


class Pages:
    """The files, each read at its first request and kept in memory: they are small."""

    def __init__(self) -> None:
        self._files = {
            f"{PAGES}/{each.name}": each for each in files("dfengine.supernode.console").joinpath("static").iterdir()
            if each.name.rpartition(".")[2] in TYPES
        }  # fmt: skip
        self.paths = frozenset((PAGES, f"{PAGES}/", *self._files))
        self._answers: dict[str, Response] = {}

    def find(self, path: str) -> Response | None:
        """Return the response for a path, None if there is no such page."""
        if path == PAGES:
            return Response(308, b"", "text/plain; charset=utf-8", (("Location", f"{PAGES}/"), *HEADERS))
        name = f"{PAGES}/index.html" if path == f"{PAGES}/" else path
        if name not in self._files:
            return None
        answer = self._answers.get(name)
        if answer is None:
            kind = TYPES[name.rpartition(".")[2]]
            answer = self._answers[name] = Response(200, self._files[name].read_bytes(), kind, HEADERS)
        return answer
