"""Runs `dfengine get` of several URLs, of a list of URLs, or of a directory."""

from __future__ import annotations

import contextlib
from itertools import chain

from dfengine.app import file_list
from dfengine.app.batch_session import BatchSession
from dfengine.app.file_list import BatchSettings
from dfengine.app.options import JOBS
from dfengine.errors import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from dfengine.client.batch import BatchFile
    from dfengine.settings import GetSettings


def run(settings: GetSettings, urls: list[str], folders: tuple[str, ...], given: dict[str, Any], *, shows: bool, as_json: bool) -> None:
    """Download the URLs and those of a list, or a directory. folders: words that are not URLs. given: options of the output and of several
    files. Raises SystemExit if files failed, and subclasses of DfengineError for errors before the first file is started.
    """
    jobs = given["jobs"] or JOBS
    if settings.md5 or settings.digest is not None:
        raise BadValue("--md5 and --digest are for one file: give one URL, or checksum= in a list")
    if given["recursive"]:
        from dfengine.app import recursive_get
        from dfengine.client.tree_fetch import TreeSettings

        if len(urls) != 1 or given["input_file"] or len((*folders, *filter(None, (given["dir"],)))) != 1:
            raise BadValue("--recursive takes one URL and one directory: dfengine get --recursive URL DIR")
        if given["skip_existing"]:
            raise BadValue("--recursive takes no --skip-existing: it does not download files again that are up to date")
        if given["jobs"]:
            settings = settings.replace(connections=min(jobs, 16))
        request = recursive_get.TreeRequest(
            TreeSettings(
                settings.replace(url=urls[0], output=(folders or (given["dir"],))[0]), given["include"] or (), given["exclude"] or (),
                delete=bool(given["delete"]),
            ),
            shows=shows, json=as_json,
        )  # fmt: skip
        request.tree.check()
        if given["dry_run"]:
            recursive_get.dry_run(request)
        else:
            recursive_get.get(request)
        return
    if given["include"] or given["exclude"] or given["delete"]:
        raise BadValue("--include, --exclude and --delete are for directories: use --recursive")
    dry = bool(given["dry_run"])
    batch = BatchSettings(settings, given["dir"] or "", skip_existing=bool(given["skip_existing"]), create_dirs=bool(given["create_dirs"]),
                      dry_run=dry)
    with contextlib.ExitStack() as stack:
        found = file_list.of_urls(batch, urls, given["output"])
        files: Iterator[BatchFile] = iter(found)
        session = BatchSession(batch.settings, batch.folder or ".", shows=shows, as_json=as_json)
        if given["input_file"]:
            file = file_list.opened(given["input_file"])
            if given["input_file"] != "-":
                stack.enter_context(file)
            lines = file_list.checked(batch, file, session.unknown, found)
            files = chain(files, file_list.of_list(batch, file, session.unknown, found))
            session.progress.files = len(found) + lines if lines >= 0 else -1
        else:
            session.progress.files = len(found)
        if dry:
            session.only_list(files)
            return
        session.download(files, jobs)
        session.end()
