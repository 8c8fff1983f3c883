"""The console's static files: packaged, complete, and free of content that the Content-Security-Policy forbids."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from dfengine.supernode.console.pages import PAGES, TYPES, Pages

ROOT = Path(__file__).resolve().parents[3]
STATIC = ROOT / "dfengine" / "supernode" / "console" / "static"
FILES = sorted(STATIC.iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_is_served_with_its_type_and_the_security_headers(path: Path) -> None:
    answer = Pages().find(f"{PAGES}/{path.name}")
    assert answer is not None
    assert (answer.status, answer.body, answer.content_type) == (200, path.read_bytes(), TYPES[path.suffix[1:]])
    headers = dict(answer.headers)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_build_no_markup_from_text_and_load_nothing_external(path: Path) -> None:
    text = path.read_text()
    named = re.findall(r"https?://[^\s\"'`…]+", text.replace("http://www.w3.org/2000/svg", ""))
    assert not named
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setTimeout\(\"", text)
    if path.suffix == ".html":
        assert not re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)


def test_files_that_imports_and_links_name_exist() -> None:
    for path in FILES:
        named = re.findall(r"from \"\./([\w.]+)\"|(?:href|src)=\"([\w.]+)\"", path.read_text())
        assert {one or other for one, other in named} <= {each.name for each in FILES}, path.name


def test_other_paths_are_not_served_and_the_bare_path_redirects() -> None:
    pages = Pages()
    for name in ("x.js", "../router.py", "/main.js", "static/main.js", "__init__.py", "main.js/"):
        assert pages.find(f"/console/{name}") is None, name
    redirect = pages.find("/console")
    assert redirect is not None
    assert (redirect.status, redirect.headers[0]) == (308, ("Location", "/console/"))


def test_the_package_data_includes_the_static_files() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert setuptools["package-data"]["dfengine.supernode.console"] == ["static/*"]
