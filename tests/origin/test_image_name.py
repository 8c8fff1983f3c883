"""Valid and invalid names of images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue
from dfengine.origin.image_name import Image, is_manifest, of_name, of_url

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(("text", "url"), [
    ("docker://alpine", "https://registry-1.docker.io/v2/library/alpine/manifests/latest"),
    ("docker://alpine:3", "https://registry-1.docker.io/v2/library/alpine/manifests/3"),
    ("docker://docker.io/alpine:3", "https://registry-1.docker.io/v2/library/alpine/manifests/3"),
    ("docker://org/app", "https://registry-1.docker.io/v2/org/app/manifests/latest"),
    ("docker://r.example:5000/a/b/c:1", "https://r.example:5000/v2/a/b/c/manifests/1"),
    ("docker://localhost/a:1", "https://localhost/v2/a/manifests/1"),
    ("docker://R.example/a:Tag", "https://r.example/v2/a/manifests/Tag"),
    (f"docker://r.example/a:1@{DIGEST}", f"https://r.example/v2/a/manifests/{DIGEST}"),
])  # fmt: skip
def test_names_are_resolved_to_manifest_urls(text: str, url: str) -> None:
    assert of_name(text).manifest() == url
    assert is_manifest(url)
    assert of_url(url) == of_name(text)


def test_urls_of_blobs_and_of_other_manifests_of_an_image() -> None:
    image = of_name("docker://r.example/a:1", plain_http=True)
    assert image == Image("http://r.example", "a", "1")
    assert image.blob(DIGEST) == f"http://r.example/v2/a/blobs/{DIGEST}"
    assert image.manifest(DIGEST) == f"http://r.example/v2/a/manifests/{DIGEST}"
    assert of_url("https://index.docker.io/v2/alpine/manifests/3").manifest() == of_name("docker://alpine:3").manifest()


@pytest.mark.parametrize("text", [
    "docker://", "docker://A/b", "docker://r.example/", "docker://r.example/A", "docker://r.example/a:", "docker://r.example/a:!",
    "docker://r.example/a@sha256:12", "docker://r.example/a/../b", "docker://r.example//a", "docker://r.ex ample/a", "docker://r.example/a?b",
    "docker://user:password@r.example/a", "docker://r.example:99999/a", "docker://" + "a" * 300,
])  # fmt: skip
def test_invalid_names_are_refused(text: str) -> None:
    with pytest.raises(BadValue) as refused:
        of_name(text)
    assert "password" not in str(refused.value)


@pytest.mark.parametrize("url", [
    "", "https://r.example/", "https://r.example/v2/a/manifests/", "https://r.example/v2/manifests/1", "ftp://r.example/v2/a/manifests/1",
    "https://r.example/v2/a/manifests/1?x=1", "https://r.example/v2/a/blobs/1", "https://user:password@r.example/v2/a/manifests/1",
    "https://r.example/v2/A/manifests/1", "https://r.example/v2/a/../b/manifests/1", "https://r.example/x/v2/a/manifests/1",
    "https://r.example/v2/a/manifests/1\n", "https://r.example/v2/a%2Fb/manifests/1", "https:///v2/a/manifests/1",
])  # fmt: skip
def test_invalid_manifest_urls_are_refused(url: str) -> None:
    with pytest.raises(BadValue) as refused:
        of_url(url)
    assert "password" not in str(refused.value)


@given(st.text(max_size=80))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for read in (of_name, of_url):
        try:
            found = read(text)
        except BadValue:
            continue
        assert is_manifest(found.manifest())
