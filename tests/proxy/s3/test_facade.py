"""Directories with the proxy's secrets, which a bucket must not expose."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dfengine.errors import BadValue, OriginError
from dfengine.origin.local_root import Roots
from dfengine.origin.origin_settings import OriginSettings
from dfengine.proxy.forward.certificate_authority import KEY
from dfengine.proxy.s3.facade import keeps_no_secret
from dfengine.proxy.s3.head_reader import HeadReader
from dfengine.proxy.secret_files import Secrets
from dfengine.settings import ProxySettings


@pytest.mark.parametrize(
    ("root", "settings"),
    [
        (".", {}), ("home", {}), ("home/files", {}), ("link", {}), ("other", {"ca_key": "other/ca.key"}),
        ("other", {"secret_file": ("else", "other/deep/secret")}), ("other", {"s3_keys": "other/keys"}),
        ("other", {"registry_auth": "other/c.json"}), ("other", {"ca_key": "inside"}),
    ],
)  # fmt: skip
def test_a_bucket_directory_with_the_proxys_keys_is_rejected(tmp_path: Path, root: str, settings: dict[str, Any]) -> None:
    for name in ("home/files", "other/deep", "others"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to("home")
    (tmp_path / "other/key").write_text("")
    (tmp_path / "inside").symlink_to("other/key")

    def placed(value: Any) -> Any:
        return tuple(map(placed, value)) if isinstance(value, tuple) else str(tmp_path / value)

    given = ProxySettings(home=str(tmp_path / "home"), **{name: placed(value) for name, value in settings.items()})
    with pytest.raises(BadValue, match=r"--s3-bucket: .* name another directory"):
        keeps_no_secret(str(tmp_path / root), given)
    keeps_no_secret(str(tmp_path / "others"), given)


def test_hard_links_to_the_proxys_keys_are_refused(tmp_path: Path) -> None:
    """The path of a hard link does not reveal its target."""
    home, bucket = tmp_path / "home", tmp_path / "bucket"
    for folder in (home, bucket):
        folder.mkdir()
    (home / KEY).write_text("key")
    (tmp_path / "logins").write_text("{}")
    (tmp_path / "file").write_text("file")
    os.link(home / KEY, bucket / "a")
    os.link(tmp_path / "logins", bucket / "b")
    os.link(tmp_path / "file", bucket / "c")
    settings = ProxySettings(home=str(home), registry_auth=str(tmp_path / "logins"))
    held = Secrets(settings)
    head_reader = HeadReader(OriginSettings(roots=Roots([str(bucket)]), may_sign=lambda location: False), held)
    for name in ("a", "b"):
        with pytest.raises(OriginError) as raised:
            head_reader.read(f"file://{bucket}/{name}", 0.0)
        assert raised.value.status == 403
    assert head_reader.read(f"file://{bucket}/c", 0.0).length == 4
    head_reader.cut()
    held.close()


def test_a_replaced_key_file_is_still_refused(tmp_path: Path) -> None:
    """After a rename the old file has lost its known name, and may have another one in the bucket."""
    home, bucket, keys = tmp_path / "home", tmp_path / "bucket", tmp_path / "keys"
    for folder in (home, bucket):
        folder.mkdir()
    keys.write_text("AKID old-secret\n")
    os.link(keys, bucket / "linked")
    settings = ProxySettings(home=str(home), s3_keys=str(keys))
    held = Secrets(settings)
    head_reader = HeadReader(OriginSettings(roots=Roots([str(bucket)]), may_sign=lambda location: False), held)
    for n in range(3):
        (tmp_path / "new").write_text(f"AKID new-secret-{n}\n")
        os.rename(tmp_path / "new", keys)
        with pytest.raises(OriginError, match="own keys"):
            head_reader.read(f"file://{bucket}/linked", 0.0)
        held.reload(settings)
    os.rename(keys, bucket / "moved")
    for name in ("linked", "moved"):
        with pytest.raises(OriginError, match="own keys"):
            head_reader.read(f"file://{bucket}/{name}", 0.0)
    head_reader.cut()
    held.close()


def test_a_bucket_symlink_later_pointed_at_the_home_is_refused(tmp_path: Path) -> None:
    """The bucket's path leads to another directory than at the proxy's start."""
    for name in ("plain/home", "other/home"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text("file")
    (tmp_path / "bucket").symlink_to("plain")
    held = Secrets(ProxySettings(home=str(tmp_path / "other/home")))
    head_reader = HeadReader(OriginSettings(roots=Roots([str(tmp_path / "bucket")]), may_sign=lambda location: False), held)
    url = f"file://{tmp_path}/bucket/home/file"
    assert head_reader.read(url, 0.0).length == 4
    (tmp_path / "fresh").symlink_to("other")
    os.rename(tmp_path / "fresh", tmp_path / "bucket")
    with pytest.raises(OriginError, match="own keys"):
        head_reader.read(url, 0.0)
    head_reader.cut()
    held.close()
