"""Rules of a forward proxy, and hosts that it intercepts."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue
from dfengine.proxy.forward import rules
from dfengine.proxy.forward.forward_settings import forwarding, glob
from dfengine.proxy.forward.rules import NOTHING, Rules, read
from dfengine.proxy.registries import Registry
from dfengine.settings import ProxySettings


def test_the_first_matching_rule_applies() -> None:
    chosen = Rules(read([
        {"match": r"\.whl$", "strip": ["sig", "Expires"], "least": "1M", "ignore": ["set-cookie"]},
        {"match": "^http://secret/", "do": "refuse"},
        {"match": "", "do": "direct"},
    ]))  # fmt: skip
    wheel = chosen.of("http://secret/a.whl")
    assert (wheel.do, wheel.strip, wheel.least, wheel.ignore) == ("swarm", ("sig", "Expires"), 1 << 20, frozenset({"set-cookie"}))
    assert [chosen.of(url).do for url in ("http://secret/a", "http://h/secret/")] == ["refuse", "direct"]
    assert Rules(otherwise=NOTHING).of("http://h/").do == "direct"
    assert read({"rules": [{"match": "x", "strip": "a&b"}]})[0].strip == ("a", "b")
    assert read(None) == ()


def test_rules_redirect_requests_to_another_server_or_to_https() -> None:
    plain, other = Registry("http", "h", 80), Registry("http", "h", 8080)
    [https] = read([{"match": "x", "https": True}])
    assert [https.server(each).url for each in (plain, other)] == ["https://h", "https://h:8080"]
    [moved] = read([{"match": "x", "redirect": "m:81"}])
    assert moved.server(plain).url == "http://m:81"
    [both] = read([{"match": "x", "redirect": "m", "https": True}])
    assert both.server(other).url == "https://m"


@pytest.mark.parametrize(
    "content",
    [
        "x", 5, {"rules": 5}, {"match": "x"}, [5], [{}], [{"match": 5}], [{"match": "("}], [{"match": "x", "do": "maybe"}],
        [{"match": "x", "strip": 5}], [{"match": "x", "strip": [5]}], [{"match": "x", "strip": ["a b"]}],
        [{"match": "x", "ignore": ["all"]}],
        [{"match": "x", "least": "some"}], [{"match": "x", "least": True}], [{"match": "x", "https": "yes"}],
        [{"match": "x", "redirect": "http://h"}], [{"match": "x", "other": 1}], [{"match": "x" * 5000}], [{"match": "x"}] * 1001,
        [{"match": "x", "do": ["swarm"]}],
    ],
)  # fmt: skip
def test_invalid_rules_are_rejected(content: Any) -> None:
    with pytest.raises(BadValue):
        read(content)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(rules.KEYS)), inner), max_leaves=9))
def test_any_content_is_parsed_or_rejected(content: Any) -> None:
    with contextlib.suppress(BadValue):
        assert all(isinstance(rule, rules.Rule) for rule in read(content))


def test_intercepted_hosts_match_names_patterns_and_ports() -> None:
    told = forwarding(ProxySettings(intercept=("example.org", "*.pkg.test", "h:8443", "[::1]", "any.test:*")))

    def intercepts(*names: str) -> list[bool]:
        return [told.intercepts(Registry("https", host, int(port))) is not None for host, _, port in (n.rpartition(":") for n in names)]

    assert intercepts("example.org:443", "example.org.:443", "a.pkg.test:443", "h:8443", "[::1]:443", "any.test:9") == [True] * 6
    assert intercepts("example.org:8443", "xexample.org:443", "pkg.test:443", "h:443", "exampleXorg:443", "a.pkg.test.evil:443",
                      "example.org.evil:443") == [False] * 7  # fmt: skip
    assert forwarding(ProxySettings()).intercepts(Registry("https", "example.org", 443)) is None
    for wrong in ("", "*", "*.*", "a b", "h:0", "h:x", "http://h", "h/x", "h:99999", "?"):
        with pytest.raises(BadValue):
            glob(wrong)
    with pytest.raises(BadValue):
        forwarding(ProxySettings(ca_cert="a"))
