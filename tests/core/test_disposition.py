"""File names from Content-Disposition: valid ones, and ones that are never accepted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.disposition import filename


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="a b.bin"', "a b.bin"),
        ("attachment; filename=plain.bin", "plain.bin"),
        ("attachment;FileName = plain.bin ;x=y", "plain.bin"),
        ("inline; filename=foo bar.bin", "foo bar.bin"),
        ("filename=only.bin", "only.bin"),
        ('attachment; filename="a;b.txt"; size=3', "a;b.txt"),
        ('attachment; filename="a\\"b"', 'a"b'),
        ('attachment; filename="open.bin', "open.bin"),
        ("attachment; filename=x.bin; filename*=UTF-8''%e2%82%ac%20r.bin", "\u20ac r.bin"),
        ("attachment; filename*=utf-8'en'%e2%82%ac.bin; filename=x.bin", "\u20ac.bin"),
        ("attachment; filename*=iso-8859-1''%E9.bin", "\u00e9.bin"),
        ("attachment; filename*=UTF-8''%E9.bin", "\udce9.bin"),
        ("attachment; filename*=koi8-r''%E9.bin; filename=x.bin", "x.bin"),
        ("attachment; filename*=nothing; filename=x.bin", "x.bin"),
        ("attachment; filename*=UTF-8''..%2f%2e%2e; filename=x.bin", "x.bin"),
        ("attachment; filename*=UTF-8''a%00b; filename=x.bin", "x.bin"),
        ('attachment; filename="caf\u00c3\u00a9.bin"', "caf\u00e9.bin"),
        ('attachment; filename="caf\u00e9.bin"', "caf\u00e9.bin"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="..\\\\..\\\\x.bin"', "x.bin"),
        ("attachment; filename*=UTF-8''%2Fetc%2Fx.bin", "x.bin"),
    ],
)
def test_file_names_are_read_from_content_disposition(header: str, name: str) -> None:
    assert filename(header) == name


@pytest.mark.parametrize(
    "header",
    ["", "attachment", "attachment; filename=", 'attachment; filename=""', 'attachment; filename=".bashrc"', 'attachment; filename=".."',
     'attachment; filename="a/"', 'attachment; filename="/.ssh"', 'attachment; filename="a\nb"', "attachment; filename*=UTF-8''%1b%5b2J",
     'attachment; filename=" "', "attachment; filename=.", 'attachment; x="; filename=evil"'],
)  # fmt: skip
def test_headers_without_a_safe_name_yield_no_name(header: str) -> None:
    assert filename(header) == ""


@given(st.text(), st.text())
def test_names_contain_no_separators_and_are_not_hidden(plain: str, extended: str) -> None:
    name = filename(f'attachment; filename="{plain}"; filename*=UTF-8\'\'{extended}')
    assert not set("/\\\0\n") & set(name)
    assert not name.startswith(".")
