"""Errors are reported in one line that names the cause, with the exit code of docs/commands.md."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.scene import DFENGINE
from tests.e2e.standin import Origin, unused_port

WHOLE = bytes(range(256)) * 16_000
MD5 = hashlib.md5(WHOLE).hexdigest()


class Command:
    """`dfengine` in its own directory, without the user's configuration."""

    def __init__(self, folder: Path, origin: Origin) -> None:
        self.folder, self.origin = folder, origin
        (folder / "short").write_text("short")
        (folder / "short").chmod(0o600)
        (folder / "key").write_text("a key that its owner alone can read")
        (folder / "key").chmod(0o600)
        (folder / "open").write_text("a secret that the group can read")
        (folder / "open").chmod(0o640)
        (folder / "file").write_text("no directory, and no certificate")

    def __call__(self, line: str, **environment: str) -> tuple[int, str]:
        """Exit code and stderr. In `line`, {url} is a file's URL and {base} its directory's."""
        code, _, err = self.run(line, **environment)
        return code, err

    def run(self, line: str, **environment: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        base = f"http://127.0.0.1:{self.origin.port}"
        words = [word.format(url=self.origin.url, base=base, here=self.folder, md5=MD5) for word in line.split(" ")]
        settings = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder / "config"), **environment}
        done = subprocess.run([*DFENGINE, *words], capture_output=True, timeout=60, cwd=self.folder, env=settings)
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode()


@pytest.fixture
def dfengine(tmp_path: Path) -> Iterator[Command]:
    fault = {7: "404"}
    with Origin(WHOLE, fault=lambda start, before: fault.get(start, "")) as origin:
        yield Command(tmp_path, origin)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("get http://no.such.host.invalid/f -o out --retry 0", 4, "no.such.host.invalid:80 cannot be reached: .*resolve host"),
        ("get http://127.0.0.1:{port}/f -o out --retry 0", 4, "127.0.0.1:{port} cannot be reached: Connection refused"),
        ("get {url} -o out --header Range:bytes=7-", 4, "127.0.0.1:{web} answers 404 Not Found: http://127.0.0.1:{web}/some/file.bin"),
        ("get https://127.0.0.1:{port}/f -o out --cacerts {here}/missing", 2, "certificates .*/missing cannot be read: No such file"),
        ("get https://127.0.0.1:{port}/f -o out --cacerts {here}/file", 2, "certificates .*/file cannot be read: no certificate"),
        ("get ftp://host/f -o out", 2, "'ftp://host/f' is not http://"),
        ("get {url} -o missing/out", 7, "cannot write beside .*missing/out: No such file or directory"),
        ("get {url} -o missing/", 7, "cannot write beside missing/file.bin: No such file.*; --create-dirs makes the folder missing"),
        ("get {url} -o /dev/full", 7, "cannot write the stream: No space left on device"),
        ("get {url} -o /dev/fd/99", 7, "cannot write into /dev/fd/99: Bad file descriptor"),
        ("get ftp://me:secret@host/f -o out", 2, r"'ftp://\*\*\*@host/f' is not http://"),
        ("get -u me:secret -o out", 2, "no URL is given: .*-u holds no ://"),
        ("get {url} -u me:secret --user me:other -o out", 2, "two users are given"),
        ("get -fsSL {url}", 2, "-f is --filter NAMES, as in 1.x.*: omit -f"),
        ("get {url} -o out -r 0-9 -H Range:bytes=0-3", 2, "--range and a Range header are given"),
        ("get {url} -o out -C 100", 2, ".*-C.*: use -C - or omit it"),
        ("get {url} -o out --md5 zz", 2, "'md5:zz': md5 needs 32 hex characters"),
        ("get {url} -o out --md5 00000000000000000000000000000000", 5, "the file's md5 is {md5}, not 0{{32}}"),
        ("get {url} -o out --secret-file {here}/missing", 2, "secret .*missing cannot be read: No such file"),
        ("get {url} -o out --secret-file {here}/short", 2, "secret .*short is shorter than 16 bytes: head -c 32"),
        ("get {url} -o out --secret-file {here}/open", 2, r"open is open to other users \(mode 0640\): chmod 600 .*open"),
        ("supernode --port 0 --download-port 0 --secret-file {here}/open", 2, "open is open to other users"),
        ("get {url} -o out --tls-cert {here}/file --tls-key {here}/open --tls-ca {here}/file", 2, "open is open to other users"),
        ("supernode --port 0 --download-port 0 --tls-cert {here}/open", 2, "open is open to other users"),
        ("get {url} -o out --tls-ca {here}/missing", 2, "missing cannot be used for TLS: No such file"),
        ("get {url} -o out -n 127.0.0.1:{port} --notbs", 3, "127.0.0.1:{port} cannot be connected to: Connection refused; .*--notbs"),
        ("get {url} -o out -n 127.0.0.1:{web} --notbs", 3, r"127.0.0.1:{web} does not answer as a supernode does \(HTTP 200\): .*--notbs"),
        ("get {url} -o out -n 127.0.0.1:{port} --pattern cdn -e 1ms", 8, "not finished within 0.001 s.*; run it again to resume"),
        ("get {url} -o - -n 127.0.0.1:{port} -e 1ms", 8, r"not finished within 0.001 s.*; a stream cannot be resumed.*\(0 bytes were"),
        ("supernode --port {taken} --download-port 0 --host 127.0.0.1", 7, "127.0.0.1:{taken}: Address already in use: .*--port"),
        ("supernode --port 0 --download-port {taken} --host 127.0.0.1", 7, "127.0.0.1:{taken}: Address already in use: .*--download-port"),
        ("supernode --port 0 --download-port 0 --home-dir {here}/file/x", 7, "cannot use .*/file/x: Not a directory: .*--home-dir"),
        ("supernode --disk-low 5G --disk-high 1G", 2, "--disk-high is less than --disk-low"),
        ("supernode --origin-deny a/b/c --port 0 --download-port 0", 2, "'a/b/c' is neither a host, an address nor a CIDR"),
        ("supernode --port 0 --download-port 0 --cluster-key-file {here}/key --cluster redis://127.0.0.1/?foo=bar", 2,
         "--cluster 'redis://127.0.0.1/' is not .*: it has no option 'foo'"),
        ("supernode --port 0 --download-port 0 --cluster-key-file {here}/key --cluster redis://127.0.0.1/x", 2, "no number"),
        ("supernode --port 0 --download-port 0 --cluster-key-file {here}/key", 2, "--cluster-key-file is the key of --cluster, which"),
        ("supernode --port 0 --download-port 0 --store-key-file {here}/key", 2, "--store-key-file is the key of --store, which is not"),
        ("supernode --port 0 --download-port 0 --cluster redis://127.0.0.1 --cluster-key-file {here}/missing", 2,
         "the cluster's key .*/missing cannot be read: No such file"),
        ("supernode --port 0 --download-port 0 --store file://{here} --store-key-file {here}/short", 2,
         "the store's key .*/short is shorter than 16 bytes"),
        ("supernode --port 0 --download-port 0 --preheat-token-file {here}/missing", 2, "the token .*/missing cannot be read: No such"),
        ("peer --home {here}/file/x", 7, "cannot use home directory .*/file/x: Not a directory"),
        ("peer --port 80", 2, "a peer serves on 15000..65000"),
    ],
)
def test_errors_are_one_line_that_names_the_cause_and_an_exit_code(dfengine: Command, line: str, code: int, said: str) -> None:
    with unused_port() as port, socket.create_server(("127.0.0.1", 0)) as taken:
        numbers = {"{port}": str(port), "{taken}": str(taken.getsockname()[1]), "{web}": str(dfengine.origin.port)}
        for name, number in numbers.items():
            line, said = line.replace(name, number), said.replace(name, number)
        found, told = dfengine(line)
    assert (found, told.count("\n")) == (code, 1), told
    assert re.match("dfengine: .*" + said.format(md5=MD5), told), told
    assert "secret" not in told or "--secret-file" in line
    assert not (dfengine.folder / "out").exists()


@pytest.mark.parametrize(
    "flag", ["--minrate abc", "--timeout 5x", "--node a:99999", "--header abc", "--digest crc:00", "--port 80", "--zz"]
)
def test_an_invalid_flag_is_named_in_the_error(dfengine: Command, flag: str) -> None:
    code, told = dfengine("get {url} -o out " + flag)
    assert code == 2
    assert flag.split()[0] in told.splitlines()[-1]


@pytest.mark.parametrize("option", ["--json", "--verbose"])
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("get {url}?sig=hidden -o out", 0),
        ("get {url}?sig=hidden -o out -n 127.0.0.1:{port}", 0),
        ("get {url}?sig=hidden -o out -n 127.0.0.1:{port} --notbs", 3),
        ("get {url}?sig=hidden -o open --skip-existing", 0),
        ("get {url}?sig=hidden -o missing/out", 7),
        ("get {url}?sig=hidden -o out -H Range:bytes=7-", 4),
        ("get {url}?sig=hidden -o out --md5 00000000000000000000000000000000", 5),
        ("get {url}?sig=hidden -o out --sign client -n 127.0.0.1:{port} --notbs", 3),
        ("get http://me:hidden@127.0.0.1:{port}/f?sig=hidden -o out --retry 1", 4),
        ("get http://me:hidden@127.0.0.1:{port}/f?sig=hidden -P {here} -j 2 {url}?sig=hidden --retry 0", 4),
        ("get {url}?sig=hidden {base}/?sig=hidden", 2),
        ("get {url}?sig=hidden {url}?sig=hidden&b", 2),
        ("get {url}?sig=hidden me:hidden@h/f?sig=hidden", 2),
        ("get {url}?sig=hidden {base}/other?sig=hidden --dry-run", 0),
        ("get me:hidden@h/f?sig=hidden -o out", 2),
        ("get ftp://me:hidden@h/f?sig=hidden -o out", 2),
        ("get http://me:hidden@h:port/f?sig=hidden -o out", 2),
        ("get http://h/f?sig=\x7fhidden -o out", 2),
        ("get --recursive http://me:hidden@127.0.0.1:{port}/d/ out --retry 0", 4),
        ("get --recursive http://me:hidden@127.0.0.1:{port}/d/ out --retry 0 --dry-run", 4),
        ("get {url}?sig=hidden -o out --zz", 2),
        ("preheat http://me:hidden@127.0.0.1:{port}/f?sig=hidden -n 127.0.0.1:{port}", 3),
        ("http://me:hidden@h/f?sig=hidden", 2),
    ],
)
def test_credentials_in_urls_are_never_printed(dfengine: Command, line: str, code: int, option: str) -> None:
    if line.startswith("preheat") and option == "--verbose":
        option = "--wait"
    with unused_port() as port:
        found, out, err = dfengine.run(f"{line} {option}".strip().replace("{port}", str(port)))
    assert found == code, err
    assert "hidden" not in out + err


def test_each_pause_before_a_retry_is_reported(dfengine: Command) -> None:
    with unused_port() as port:
        code, told = dfengine(f"get http://127.0.0.1:{port}/f -o out --retry 4")
    why = f"dfengine: 127.0.0.1:{port} cannot be reached: Connection refused"
    *pauses, last = told.splitlines()
    assert (code, last) == (4, why)
    assert 2 <= len(pauses) <= 4, "pauses too short to be read are not reported"
    assert all(re.fullmatch(re.escape(why) + r": tries again in \d+ s \(\d of 4\)", line) for line in pauses), told


def test_an_uppercase_md5_is_accepted(dfengine: Command) -> None:
    assert dfengine("get {url} -o out --md5 " + MD5.upper())[0] == 0
    assert (dfengine.folder / "out").read_bytes() == WHOLE


def test_a_port_in_use_is_reported_and_the_download_completes(dfengine: Command) -> None:
    with socket.create_server(("127.0.0.2", 0)) as taken, unused_port() as port:
        number = taken.getsockname()[1]
        code, told = dfengine(f"get {{url}} -o out --ip 127.0.0.2 --port {number} --home {{here}}/home -n 127.0.0.1:{port} --verbose")
    assert code == 0
    assert f"serves no pieces: cannot listen on 127.0.0.2:{number}: Address already in use" in told
    assert "this host serves no pieces" in told


def test_flags_override_the_environment_which_overrides_configuration_files(dfengine: Command) -> None:
    """A later configuration file overrides an earlier one."""
    config = dfengine.folder / "config" / "dfengine"
    config.mkdir(parents=True)
    with unused_port() as port:
        (config / "a.yml").write_text(f"get:\n  nodes: ['127.0.0.1:{port}']\n  notbs: true\n")
        assert dfengine("get {url} -o out")[0] == 3
        (config / "b.yaml").write_text("get:\n  notbs: false\n")
        assert dfengine("get {url} -o out")[0] == 0
        assert dfengine("get {url} -o out", DFENGINE_GET_NOTBS="1")[0] == 3
        assert dfengine("get {url} -o out --pattern source", DFENGINE_GET_NOTBS="1", DFENGINE_GET_PATTERN="cdn")[0] == 0
        (config / "c.yml").write_text(f"get:\n  nodes: 127.0.0.1:{port}\n  notbs: yes\n  locallimit:\n")
        assert dfengine("get {url} -o out")[0] == 3, "a single value needs no list, and an empty setting is ignored"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("get:\n  speed: 5\n", "get.speed is not a setting"),
        ("get:\n  address: http://host/f\n", "get.address is not a setting"),
        ("peer:\n  lock-fd: 3\n", "peer.lock-fd is not a setting"),
        ("fetch:\n  quiet: true\n", "fetch.quiet is not a setting"),
        ("get:\n  minrate: [1, 2]\n", "get.minrate is list"),
        ("get:\n  nodes: [[a], b]\n", "get.nodes is list"),
        ("get:\n  insecure: 2026-01-01\n", "get.insecure is date"),
        ("get:\n  insecure: 3\n", "--insecure.*'3'"),
        ("get:\n  minrate: abc\n", "--minrate.*size 'abc'"),
        ("get: 5\n", "is not a mapping of get, supernode, peer"),
        ("get: [\n", "cannot be read: .*line 2"),
    ],
)
def test_invalid_configurations_are_rejected(dfengine: Command, content: str, said: str) -> None:
    config = dfengine.folder / "config" / "dfengine"
    config.mkdir(parents=True)
    (config / "a.yml").write_text(content)
    code, told = dfengine("get {url} -o out")
    assert (code, told.count("\n")) == (2, 1)
    assert re.match("dfengine: .*" + said, told), told
