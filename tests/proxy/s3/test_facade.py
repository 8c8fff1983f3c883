"""Directories that a bucket may not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dfengine.errors import BadValue
from dfengine.proxy.s3.facade import keeps_no_secret
from dfengine.settings import ProxySettings


@pytest.mark.parametrize(
    ("root", "settings"),
    [
        (".", {}), ("home", {}), ("home/files", {}), ("link", {}), ("other", {"ca_key": "other/ca.key"}),
        ("other", {"secret_file": ("else", "other/deep/secret")}), ("other", {"s3_keys": "other/keys"}), ("other", {"ca_key": "inside"}),
    ],
)  # fmt: skip
def test_a_bucket_holds_no_key_of_the_proxy(tmp_path: Path, root: str, settings: dict[str, Any]) -> None:
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
