"""SIGHUP at a proxy: rules, tokens, passwords, certificates and settings are read again; an invalid file changes nothing."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.blob_registry import DATA
from tests.e2e.certificates import Authority
from tests.e2e.scene import Scene
from tests.e2e.test_forward import asked
from tests.e2e.test_own_credentials import TokenRegistry, login, place
from tests.e2e.upstream import Upstream, ok

OLD, NEW, OTHER = "old-token-of-this-proxy", "new-token-of-this-proxy", "other-token-of-this-proxy"


def rewrite(path: Path, text: str, mode: int = 0o600) -> str:
    """Replace a file in one step and return its name."""
    fresh = path.with_suffix(".fresh")
    fresh.touch(mode)
    fresh.write_text(text)
    fresh.rename(path)
    return str(path)


class Proxy:
    """A running proxy that logs events as JSON."""

    def __init__(self, stage: Scene, *options: str) -> None:
        self.process, self.url = stage.proxy("--log-format", "json", *options, errors=subprocess.PIPE)

    def reread(self) -> dict[str, Any]:
        """Send SIGHUP and return the event of its outcome; `lines`: other lines of stderr about it."""
        self.process.send_signal(signal.SIGHUP)
        assert self.process.stderr is not None
        lines: list[str] = []
        for line in iter(self.process.stderr.readline, b""):
            event = json.loads(line) if line.startswith(b"{") else {"event": ""}
            if event["event"].startswith("reload"):
                return {**event, "lines": lines}
            if "SIGHUP" in line.decode():
                lines.append(line.decode())
        raise AssertionError("the proxy has ended")

    def status(self, path: str, token: str, **fields: str) -> int:
        return asked(self.url, path, X_Dfengine_Token=token, **fields)[0].status


def test_sighup_reloads_files_and_settings_or_changes_nothing(stage: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config" / "dfengine"
    config.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config.parent))
    rules, token, trust = tmp_path / "rules.yml", tmp_path / "token", tmp_path / "trust.pem"
    right, wrong = Authority(tmp_path), Authority(tmp_path, "other")
    rewrite(trust, Path(wrong.ca).read_text())
    rewrite(config / "a.yml", "proxy: {cache-size: 1G, private: share}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*right.issue("origin", "IP:127.0.0.1"))
    with Upstream() as origin, Upstream(context) as registry, TokenRegistry() as closed, closed.auth:
        origin.scripts["/x"], registry.scripts["/v2/a/x"] = ok(b"x"), ok(b"y")
        blob = closed.keep("a", DATA)
        passwords = login(stage, place(closed))
        good = passwords.read_text()
        rewrite(passwords, good.replace("Ok", "Oj").replace("bW", "bX"))
        proxy = Proxy(
            stage, "--rules", rewrite(rules, "[{match: /x, do: refuse}]"), "--token-file", rewrite(token, OLD), "--cacerts", str(trust),
            "--registry", registry.url, "--registry", closed.url, "--registry-auth", str(passwords),
        )  # fmt: skip
        secure, private = f"{proxy.url}/v2/a/x?ns={place(registry)}", f"{proxy.url}{blob}?ns={place(closed)}"
        assert [proxy.status(each, OLD) for each in (f"{origin.url}/x", secure, private)] == [403, 502, 401]
        assert proxy.status(secure, NEW) == 401

        rewrite(rules, "[{match: /x, do: direct}]")
        rewrite(token, NEW)
        rewrite(trust, Path(right.ca).read_text())
        rewrite(passwords, good)
        rewrite(config / "a.yml", "proxy: {cache-size: 2G, private: split}")
        told = proxy.reread()
        assert (told["event"], told["changed"], told["needs_restart"], told["lines"]) == ("reloaded", "cache_size", "private", [])
        assert [proxy.status(each, NEW) for each in (f"{origin.url}/x", secure, private)] == [200, 200, 200]
        assert proxy.status(secure, OLD) == 401

        # With one invalid file nothing changes, and one line names it.
        settings = config / "a.yml"
        for path, text in ((rules, "[{match: /x, do: nothing}]"), (trust, "no certificate"), (passwords, "{"), (settings, "proxy: ["),
                           (settings, "proxy: {cache-size: much}"), (token, "short")):  # fmt: skip
            before = path.read_text()
            rewrite(token, OTHER)
            rewrite(path, text)
            told = proxy.reread()
            assert told["event"] == "reload_failed"
            assert len(told["lines"]) == 1
            assert "the former settings stay in use" in told["lines"][0]
            assert any(name in told["lines"][0] for name in (str(path), "token", "--cache-size")), told["lines"]
            assert [proxy.status(each, NEW) for each in (f"{origin.url}/x", secure, private)] == [200, 200, 200]
            rewrite(path, before)
        rewrite(token, OTHER)
        assert proxy.reread()["event"] == "reloaded"
        assert [proxy.status(secure, each) for each in (OTHER, NEW)] == [200, 401]
