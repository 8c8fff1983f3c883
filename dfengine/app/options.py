"""The options of all commands in one table.

Made from it: click's parameters (`cli`), the fast reader of a plain command line (`plain`), configuration files (`configuration`), the
environment, `--help` (`help`), the checks of `dfengine.get` and `dfengine.stream` (`keywords`) and the tables of docs/commands.md.
Defaults are those of the settings (`dfengine.settings`): what is not given is not set.
"""

from __future__ import annotations

from dfengine import settings
from dfengine.app.kinds import CDN_PATTERN, FLAG, FORM, PATTERN, PRIVATE, SIGN, XET
from dfengine.value import Value

ENVIRONMENT = "DFENGINE"
"""How the names of environment variables that hold settings begin."""


class Option(Value):
    """flags: as typed, all of one meaning. name: of the setting, in configuration files with - or _. help: one line. kind: of KINDS.

    many: may be given again. default: in words, where the setting's own value does not say it. more: what docs/commands.md adds. legacy:
    key in the configuration files of 1.x. hidden: only for a `get` that starts a peer server; neither help, nor files or environment.
    ignored: 1.x has it, and here it does nothing.
    """

    flags: tuple[str, ...]
    name: str
    group: str
    help: str
    kind: str = "text"
    many: bool = False
    default: str = ""
    more: str = ""
    legacy: str = ""
    hidden: bool = False
    ignored: bool = False

    @property
    def key(self) -> str:
        """Name in a configuration file."""
        return self.name.replace("_", "-")

    def variable(self, command: str) -> str:
        """Environment variable."""
        return f"{ENVIRONMENT}_{command}_{self.name}".upper()


OUTPUT, SWARM, ORIGIN, VERIFICATION = "Output", "Swarm", "Origin", "Verification"
LIMITS, PEER_SERVER, SECURITY, MESSAGES = "Limits", "This host's peer server", "TLS and secret", "Messages"
NETWORK, STORAGE, OTHER = "Network", "Storage", "Other"
FORWARD = "Forward proxy"
MANY = "Many files"
FORMER = "Of Dragonfly 1.x, without effect"

JOBS = 8
"""Files that are downloaded at once, of several."""

TRUST = (
    Option(
        ("--secret-file",), "secret_file", SECURITY, "File with the swarm's secret, mode 0600", "file", many=True,
        more="Requests are signed, and those without it are refused (docs/security.md). Given twice: the first signs, both are accepted, "
        "so that a swarm can change its secret",
    ),
    Option(("--tls-cert",), "tls_cert", SECURITY, "This host's certificate (PEM): TLS with the swarm", "file", more="See docs/security.md"),
    Option(("--tls-key",), "tls_key", SECURITY, "Its private key (PEM, mode 0600), if not in that file", "file"),
    Option(("--tls-ca",), "tls_ca", SECURITY, "Certificate authority of the swarm (PEM)", "file", more="Others are refused"),
)  # fmt: skip
"""The same for all commands."""

GET = (
    Option(("--url",), "url", OUTPUT, "The same as the argument URL", "url",
           more="`http`, `https`, or another scheme of docs/files.md; blanks and bytes that are no UTF-8 are percent-encoded"),
    Option(("-u",), "u", OUTPUT, "URL if it begins with a scheme and ://, else --user", "url|user[:password]", many=True,
           more="The URL as in 1.x, or the user as in curl"),
    Option(("-o", "--output"), "output", OUTPUT, "File, directory, or - for stdout", "file|dir|-", default="end of the URL",
           more="See \"Outputs\" below"),
    Option(("-P", "--dir"), "dir", OUTPUT, "Directory of the output; -o is relative to it", "dir", default="."),
    Option(("--create-dirs",), "create_dirs", OUTPUT, "Create the output's missing directories", FLAG),
    Option(("-J", "--remote-header-name"), "remote_header_name", OUTPUT, "Name the output by the origin's Content-Disposition", FLAG,
           more="If that header names a file; an existing file is not replaced without `--force`"),
    Option(("-O", "--remote-name", "-L", "-c", "--continue"), "accepted", OUTPUT, "Accepted: a download always does this", FLAG,
           more="They name the output by the URL, follow redirects, and resume"),
    Option(("-C", "--continue-at"), "continue_at", OUTPUT, "Accepted as -C -: a download always resumes", "-",
           more="No other offset can be given"),
    Option(("--skip-existing",), "skip_existing", OUTPUT, "End at once, with exit code 0, if the output exists", FLAG,
           more='`--json` then prints `{"url", "output", "skipped": true}`'),
    Option(("--force",), "force", OUTPUT, "Download again even if the output is up to date", FLAG),
    Option(("--stream",), "stream", OUTPUT, "The same as -o -: write to stdout in order", FLAG),
    Option(("--window",), "window", OUTPUT, "Stream: how far to fetch ahead", "pieces|size", default="up to 256M",
           more="Pieces (`16`) or bytes (`256M`) ahead of the reader. The default is less than 256M where memory is short"),
    Option(("--cache",), "cache", OUTPUT, "Stream: bytes kept for peers", "size", default="up to 256M",
           more="Kept in memory after the reader has had them. The default is less than 256M where memory is short"),
    Option(("--input-file",), "input_file", MANY, "Download the URLs of this list; - reads stdin", "file",
           more="In aria2's format; see \"Many files\" below"),
    Option(("-j", "--jobs"), "jobs", MANY, "Files at once", "1..256", default=str(JOBS)),
    Option(("--recursive",), "recursive", MANY, "Download all below the directory URL into DIR", FLAG,
           more="`dfengine get --recursive URL DIR`, or `-P DIR`: a bucket's prefix, a repository, an index; see \"Directories\" below"),
    Option(("--include",), "include", MANY, "Of a directory, only such files; repeatable", "glob", many=True, default="all",
           more="`*`, `?`, `[a-z]` in a segment, `**` for any directories; without a slash a name in any directory"),
    Option(("--exclude",), "exclude", MANY, "Of a directory, no such files; repeatable", "glob", many=True, default="none",
           more="It overrides `--include`"),
    Option(("--delete",), "delete", MANY, "Of DIR, delete the files that the directory has not", FLAG,
           more="When all others are here, and never those that `--include` and `--exclude` leave out"),
    Option(("--dry-run",), "dry_run", MANY, "Print what would be downloaded, and write nothing", FLAG,
           more="Of a directory sizes and paths, also what `--delete` would delete; of a list URLs and outputs"),
    Option(("-n", "--node"), "nodes", SWARM, "Supernode; repeat for several", "host[:port][=weight]", many=True, default="none",
           more="Or several with commas between them. Port 8002 and weight 1 if absent; `dns://NAME[:PORT]`: each address of the name; "
           "`srv://NAME`: its SRV records (docs/operating.md)", legacy="nodes"),
    Option(("-p", "--pattern"), "pattern", SWARM, "cdn: serve nobody; source: origin only", PATTERN,
           more="`p2p` and `cdn` fetch from peers and supernode"),
    Option(("--notbs",), "notbs", SWARM, "Never fall back to the origin when the swarm fails", FLAG),
    Option(("--no-join",), "no_join", SWARM, "Do not share this download with others of this host", FLAG,
           more="Without it, downloads of one file that run at the same time fetch it once; see \"Downloads of one host\" below"),
    Option(("-f", "--filter"), "filter", SWARM, "Query parameters left out of the task id, as a&b", "names",
           more="For URLs that hold a signature or a time"),
    Option(("-i", "--identifier"), "identifier", SWARM, "Distinguishes versions served at one URL"),
    Option(("--private",), "private", SWARM, "Share what credentials open", PRIVATE,
           default="the supernode's",
           more="`share`: with those whose own credentials open it, too; `split`: with the same credentials alone (docs/security.md)"),
    Option(("--location",), "location", SWARM, "Where this host is, widest first: region|site|rack", "labels",
           more="In quotes. Of peers that have a piece and a free slot, the nearest is asked"),
    Option(("--callsystem",), "callsystem", SWARM, "Name of the calling system, for the supernode's metrics"),
    Option(("-r", "--range"), "range", ORIGIN, "Only these bytes, counted from 0; -N: the last N", "a-b|a-|-n",
           more="A header `Range: bytes=...`, which is part of the task's identity"),
    Option(("-H", "--header"), "headers", ORIGIN, "Request header 'Name: value'; repeat for several", "header", many=True),
    Option(("-A", "--user-agent"), "user_agent", ORIGIN, "Header User-Agent", "product", default="dfengine/VERSION",
           more="Unless `--header` gives it"),
    Option(("--user",), "user", ORIGIN, "User and password (Basic authentication)", "user[:password]",
           more="Other users of this host can see command lines; `--netrc` hides it from them"),
    Option(("--netrc",), "netrc", ORIGIN, "Read user and password from ~/.netrc", FLAG, more="See \"Users\" below"),
    Option(("--netrc-file",), "netrc_file", ORIGIN, "Read user and password from this file", "file"),
    Option(("--sign",), "sign", ORIGIN, "Whose credentials open s3, gs, az, hf", SIGN,
           more="`supernode`: its own, as far as its `--origin-sign` goes; a download without a supernode uses its own. `client`: this "
           "user's (docs/files.md). `none`: no credentials, for public files"),
    Option(("--connections",), "connections", ORIGIN, "Connections at once, at most", "1..16"),
    Option(("--retry",), "retry", ORIGIN, "Further tries after a transient failure", "n"),
    Option(("--retry-max-time",), "retry_max_time", ORIGIN, "Begin no further try after this", "duration", default="no limit"),
    Option(("--connect-timeout",), "connect_timeout", ORIGIN, "Give up connecting after this", "duration", default="30 s"),
    Option(("--first-byte-timeout",), "first_byte_timeout", ORIGIN, "Wait this long for an answer", "duration", default="by --minrate",
           more="Until the head of the answer is here"),
    Option(("--cacerts",), "cacerts", ORIGIN, "More certificates to trust (PEM); repeat for several", "file", many=True,
           more="Besides the system's or those of `SSL_CERT_FILE`"),
    Option(("--cert",), "cert", ORIGIN, "Client certificate (PEM)", "file"),
    Option(("--key",), "key", ORIGIN, "Its private key (PEM), if not in that file", "file"),
    Option(("-k", "--insecure"), "insecure", ORIGIN, "Do not verify the origin's certificate", FLAG),
    Option(("-m", "--md5"), "md5", VERIFICATION, "Expected MD5 of the file; part of the task id", "hex",
           more="Checked by supernode and client"),
    Option(("--digest",), "digest", VERIFICATION, "Expected md5, sha1, sha256, sha512, blake3 or xxh3", "algorithm:hex",
           more="Of the file; checked by the client alone. `xxh3` is XXH3-128; hex in any case"),
    Option(("-s", "--locallimit", "--limit-rate"), "locallimit", LIMITS, "Highest receiving rate", "rate", default="no limit",
           legacy="localLimit"),
    Option(("--totallimit",), "totallimit", LIMITS, "Highest sending rate of this host", "rate", default="no limit",
           legacy="totalLimit"),
    Option(("--minrate",), "minrate", LIMITS, "Leave a source that is slower", "rate", legacy="minRate"),
    Option(("-e", "--timeout", "--max-time"), "timeout", LIMITS, "Give up after this", "duration", default="no limit"),
    Option(("--ip",), "ip", PEER_SERVER, "This host's address for its peers", "ip", default="automatic",
           more="Automatic: the address used towards the supernode; `0.0.0.0` and `::` are as if none were given"),
    Option(("--port",), "port", PEER_SERVER, "Port for its peers, 15000..65000", "port", default="any free one"),
    Option(("--home",), "home", PEER_SERVER, "Where it keeps its records", "dir", legacy="workHome"),
    Option(("--alivetime",), "alivetime", PEER_SERVER, "End it after this idle time; 0: never", "duration"),
    Option(("--expiretime",), "expiretime", PEER_SERVER, "Serve the file this long after its last use", "duration"),
    *TRUST,
    Option(("--json",), "json", MESSAGES, "Print one JSON object at the end", FLAG, more="On stdout; of a stream to stdout, on stderr"),
    Option(("-q", "--quiet"), "quiet", MESSAGES, "Print errors only", FLAG),
    Option(("-v", "--verbose", "--console"), "verbose", MESSAGES, "Print each step, and who served the file", FLAG),
    Option(("-b", "--showbar"), "showbar", MESSAGES, "Show the progress bar even if stderr is no terminal", FLAG),
    Option(("--dfdaemon",), "dfdaemon", FORMER, "1.x: whether dfdaemon asks", FLAG, ignored=True),
    Option(("--clientqueue",), "clientqueue", FORMER, "1.x: pieces handled at once", "0..1000000", ignored=True),
)  # fmt: skip

LOG = (
    Option(("--log-format",), "log_format", MESSAGES, "Form of the events on stderr", FORM),
    Option(("--log-level",), "log_level", MESSAGES, "Least of debug, info, warning, error; or off", "level",
           more="The events are those of docs/operating.md"),
    Option(("--access-log",), "access_log", MESSAGES, "Tell each answered request, too", FLAG),
)  # fmt: skip
"""The same for all servers."""

SUPERNODE = (
    Option(("--port",), "port", NETWORK, "Control port; 0: any free one", "port", legacy="listenPort"),
    Option(("--download-port",), "download_port", NETWORK, "Port that serves pieces; 0: any free one", "port", legacy="downloadPort"),
    Option(("--host",), "host", NETWORK, "Address or name to listen on", "address", more="`::` accepts IPv4 as well"),
    Option(("--advertise-ip",), "advertise_ip", NETWORK, "Address that clients reach it by", "address", default="automatic",
           more="Automatic: that of `--host`, or the host's own", legacy="advertiseIP"),
    Option(("--home-dir",), "home_dir", STORAGE, "Directory of cached files", "dir", more="One supernode at a time", legacy="homeDir"),
    Option(("--max-length",), "max_length", STORAGE, "Refuse longer files", "size",
           more="Their downloads go to the origin by themselves"),
    Option(("--disk-low",), "disk_low", STORAGE, "Remove cached files when less than this is free", "size",
           more="The least recently used first"),
    Option(("--disk-high",), "disk_high", STORAGE, "Remove cached files until this is free", "size"),
    Option(("--store",), "store", STORAGE, "Object store in which finished files lie as well", "url", default="none",
           more="`s3://BUCKET/PREFIX`, `gs://`, `az://` or `file:///DIR`; read before the origin (docs/operating.md)"),
    Option(("--store-key-file",), "store_key_file", STORAGE, "File with the key for what lies there", "file",
           default="the secret", more="Mode 0600; the same at all supernodes that share the store"),
    Option(("--task-expire-time",), "task_expire_time", SWARM, "Forget an unused task after this; its file stays", "duration",
           legacy="taskExpireTime"),
    Option(("--peer-gc-delay",), "peer_gc_delay", SWARM, "Forget a silent peer after this", "duration", legacy="peerGCDelay"),
    Option(("--up-limit",), "up_limit", LIMITS, "Pieces that one peer sends at once", "1..10000", legacy="peerUpLimit"),
    Option(("--down-limit",), "down_limit", LIMITS, "Pieces that one 1.x download receives at once", "1..10000",
           more="A `get` has up to 8 under way", legacy="peerDownLimit"),
    Option(("--supernode-limit",), "supernode_limit", LIMITS, "Pieces of a task that the supernode sends at once", "1..10000"),
    Option(("--max-bandwidth",), "max_bandwidth", LIMITS, "Highest sending rate", "rate", default="no limit", legacy="maxBandwidth"),
    Option(("--private",), "private", SWARM, "Share what credentials open", PRIVATE,
           more="Of clients that do not say it, as all of 1.x (docs/security.md)"),
    Option(("--client-share",), "client_share", LIMITS, "Percent of connections that one client may have", "1..100",
           more="Also of registrations and of questions (docs/reliability.md)"),
    Option(("--origin-limit",), "origin_limit", ORIGIN, "Downloads sent to one origin at once; 0: all", "0..1000000",
           more="Those that fetch from it by themselves because the swarm fails them; of all supernodes of a cluster"),
    Option(("--origin-connections",), "origin_connections", ORIGIN, "Connections at once for each file", "1..16"),
    Option(("--fail-access-interval",), "fail_access_interval", ORIGIN, "Do not retry an unreachable URL for this long", "duration",
           legacy="failAccessInterval"),
    Option(("--revalidate-interval",), "revalidate_interval", ORIGIN, "Ask again if a cached file is current after this", "duration"),
    Option(("--origin-allow",), "origin_allow", ORIGIN, "Fetch only from here; repeat for several", "host|address|cidr", many=True,
           default="anywhere"),
    Option(("--origin-deny",), "origin_deny", ORIGIN, "Never fetch from here; repeat for several", "host|address|cidr", many=True,
           more="Besides link-local addresses and those of clouds' metadata (docs/security.md)"),
    Option(("--origin-root",), "origin_root", ORIGIN, "Read file:// below this; repeat for several", "dir", many=True,
           default="none", more="Everybody who may register gets what lies there (docs/files.md)"),
    Option(("--origin-sign",), "origin_sign", ORIGIN, "Open this URL and all below by own credentials", "url", many=True,
           default="none", more="A bucket, a prefix of one, or a repository: `s3://models/llama/`, `hf://org/name`. Everybody who may "
           "register gets what they open (docs/files.md)"),
    Option(("-n", "--node"), "nodes", SWARM, "Other supernode that preheats may reach; repeatable", "host[:port][=weight]", many=True,
           more="Of the scope `all_seed_peers`, beside those of the cluster (docs/images.md)"),
    Option(("--cluster",), "cluster", SWARM, "Redis by which supernodes share their tasks", "url", default="none",
           more="`redis://HOST`, `rediss://` (TLS), `unix:///PATH`, `sentinel://HOST,HOST/SERVICE`; the origin is then read once for all "
           "supernodes (docs/operating.md)"),
    Option(("--cluster-key-file",), "cluster_key_file", SWARM, "File with its key, mode 0600", "file",
           default="the secret", more="The same at all supernodes, and at no host. Private files need it (docs/security.md)"),
    *TRUST,
    Option(("--preheat-token-file",), "preheat_token_file", SECURITY, "File with a token that opens preheats, mode 0600", "file",
           more="For Harbor and others that cannot sign requests (docs/images.md)"),
    Option(("--console-token-file",), "console_token_file", SECURITY, "File with a token for the console, mode 0600", "file",
           more="Who shows it may change things by the console and `/api/v2`, and read where the swarm has a secret (docs/security.md)"),
    *LOG,
    Option(("--drain",), "drain", OTHER, "At SIGTERM, let downloads end for so long", "duration",
           more="No new ones join meanwhile; `/readyz` answers 503"),
    Option(("--config",), "config", OTHER, "One more YAML file; it overrides the others", "file"),
    Option(("--debug", "-D"), "debug", MESSAGES, "The same as --log-level debug", FLAG),
    Option(("--profiler",), "profiler", FORMER, "1.x: serve profiles of the program", FLAG, ignored=True),
    Option(("--pool-size",), "pool_size", FORMER, "1.x: threads that read origins", "0..1000000", ignored=True),
    Option(("--system-bandwidth",), "system_bandwidth", FORMER, "1.x: rate left to other programs", "rate", ignored=True),
    Option(("--gc-initial-delay",), "gc_initial_delay", FORMER, "1.x: time to the first clean-up", "duration", ignored=True),
    Option(("--gc-meta-interval",), "gc_meta_interval", FORMER, "1.x: time between clean-ups", "duration", ignored=True),
    Option(("--cdn-pattern",), "cdn_pattern", FORMER, "1.x: where clients fetch from", CDN_PATTERN, ignored=True,
           more="A supernode keeps a copy of each file in either case"),
)  # fmt: skip

PEER = (
    Option(("--ip",), "ip", NETWORK, "Address to listen on", "address", default="automatic"),
    Option(("--port",), "port", NETWORK, "Port to listen on, 15000..65000", "port", default="any free one"),
    Option(("--home",), "home", STORAGE, "Directory whose downloads are served", "dir"),
    Option(("--totallimit",), "totallimit", LIMITS, "Highest sending rate", "rate", default="no limit"),
    Option(("--alivetime",), "alivetime", LIMITS, "End after this idle time; 0: never", "duration"),
    *TRUST,
    *LOG,
    Option(("--socket-fd",), "socket_fd", OTHER, "Descriptor of the listening socket", "descriptor", hidden=True),
    Option(("--lock-fd",), "lock_fd", OTHER, "Descriptor of the home's lock", "descriptor", hidden=True),
    Option(("--join-fd",), "join_fd", OTHER, "Descriptor of a connection to the download that starts it", "descriptor", hidden=True),
    Option(("--handover-fd",), "handover_fd", OTHER, "Descriptor of the socket that takes streams' memory", "descriptor", hidden=True),
)  # fmt: skip

REGISTRIES, BUCKETS = "Registries", "Buckets"


def _as_in(table: tuple[Option, ...], *names: str, legacy: bool = False) -> tuple[Option, ...]:
    """Options of another command that mean the same here."""
    return tuple(option if legacy else option.replace(legacy="") for option in table if option.name in names)


PROXY = (
    Option(("--listen",), "listen", NETWORK, "Listen here; repeat for several", "ip:port|unix:path", many=True,
           default=f"127.0.0.1:{settings.PROXY_PORT}", more="An address that other hosts can reach wants `--allow` or `--token-file`"),
    Option(("--allow",), "allow", NETWORK, "Other hosts that may use it; repeat for several", "cidr", many=True),
    Option(("--token-file",), "token_file", NETWORK, "File with a token that each request must show", "file",
           more="In the header `X-Dfengine-Token`"),
    Option(("--registry",), "registries", REGISTRIES, "Registry that may be asked; repeat for several", "registry", many=True,
           more="`https://HOST`, `http://HOST:PORT`, or `NAME=https://HOST` where images name it otherwise; `USER:PASSWORD@` before the "
           "host are sent where a client sends no credentials. The first one is asked for what names none"),
    Option(("--registry-auth",), "registry_auth", REGISTRIES, "Users of registries: docker login's config.json", "file",
           more="Mode 0600. Of those that `--registry` names; for requests that read and have no credentials (docs/security.md)"),
    Option(("--only-registries",), "only_registries", REGISTRIES, "Ask no other registries", FLAG,
           more="Without it, others are asked by https on port 443"),
    *(each.replace(group=REGISTRIES) for each in (*_as_in(GET, "cacerts", "insecure"), *_as_in(SUPERNODE, "origin_allow", "origin_deny"))),
    Option(("--hub",), "hub", REGISTRIES, "Model hub behind `/hub`", "url",
           more="A Hugging Face Hub. Clients find it by `HF_ENDPOINT=http://127.0.0.1:65001/hub`"),
    Option(("--xet",), "xet", REGISTRIES, "How clients that know Xet have files", XET,
           more="strip: by plain HTTP; those over 50 GB, and with swarm all: by Xet through this proxy; passthrough: by Xet, past it"),
    Option(("--s3-bucket",), "s3_buckets", BUCKETS, "Bucket behind `/s3`; repeat for several", "name=url|/dir", many=True,
           more="`NAME=s3://BUCKET/PREFIX` (`gs`, `az`), `NAME=https://HOST/DIR/` or `NAME=/DIR` (docs/s3.md)"),
    Option(("--s3-listen",), "s3_listen", BUCKETS, "Serve buckets at the root here; repeatable", "ip:port|unix:path", many=True,
           more="For clients that drop an endpoint's path. An address that other hosts can reach wants `--allow` or `--s3-keys`"),
    Option(("--s3-keys",), "s3_keys", BUCKETS, "File with access keys and secrets of clients", "file",
           more="Mode 0600, a line `ACCESSKEY SECRET` for each. Then each request must be signed by one of them"),
    Option(("--s3-fresh",), "s3_fresh", BUCKETS, "Ask again what an object is after this", "duration",
           more="And what a bucket lists"),
    *(each.replace(group=BUCKETS) for each in _as_in(GET, "sign")),
    Option(("--rules",), "rules", FORWARD, "YAML list: what goes through the swarm", "file", default="all",
           more="The first rule whose `match` is found in the URL counts; what none matches is passed on (docs/proxy.md)"),
    Option(("--intercept",), "intercept", FORWARD, "Host whose https is read here; repeat for several", "host[:port]|glob", many=True,
           more="Or a glob, as `*.example.org`; port 443 if absent. All other hosts are tunnelled unseen. Clients must trust the "
           "certificate that `dfengine proxy ca` prints"),
    Option(("--connect-port",), "connect_ports", FORWARD, "Port that CONNECT may name, besides 443; repeatable", "port", many=True),
    Option(("--ca-cert",), "ca_cert", FORWARD, "Authority for intercepted hosts (PEM)", "file", default="its own",
           more="A certificate that is none of an authority is shown for all of them"),
    Option(("--ca-key",), "ca_key", FORWARD, "Its key, mode 0600", "file"),
    Option(("--forward-for-others",), "forward_for_others", FORWARD, "A forward proxy for other hosts, too", FLAG,
           more="Those that `--allow` or `--token-file` lets in reach whatever this host reaches (docs/security.md)"),
    Option(("--cache-size",), "cache_size", STORAGE, "Most bytes of blobs on the disk", "size", default="no limit",
           more="Those that were used longest ago leave, also when the disk is nearly full"),
    Option(("--dfdaemon",), "dfdaemon", REGISTRIES, "Settings of Dragonfly 1.x's dfdaemon.yml", "file",
           more="Options given here override them; what it has no counterpart for is said on stderr"),
    Option(("--write",), "write", REGISTRIES, "hosts-toml: write below this, as /etc", "dir",
           default="show only"),
    Option(("--private",), "private", SWARM, "Share what credentials open", PRIVATE,
           more="`share`: with those whose own credentials open it, too; `split`: with the same credentials alone (docs/security.md)"),
    Option(("--no-work",), "no_work", SWARM, "Take no work of supernodes", FLAG,
           more="Without it, a preheat may have this proxy bring blobs into its cache (docs/images.md)"),
    *_as_in(GET, "nodes", "location", "locallimit", "totallimit", "ip", "port", "home", "alivetime", "expiretime"),
    *TRUST,
    *LOG,
)  # fmt: skip

SHARE = (
    *_as_in(GET, "nodes"),
    Option(("--replicas",), "replicas", SWARM, "Have this many of the supernodes keep a copy", "n",
           more="`share` returns when these copies are whole and verified; then this host may leave"),
    Option(("--ttl",), "ttl", SWARM, "Share it for this long; copies are kept as long", "duration", more="Of a copy at most 30 days"),
    Option(("--foreground",), "foreground", SWARM, "Stay until then, and share it no longer when interrupted", FLAG,
           more="Without it the host's peer server goes on sharing when `share` has ended"),
    *_as_in(GET, "location", "totallimit", "ip", "port", "home", "alivetime"),
    *TRUST,
    Option(("--json",), "json", MESSAGES, "Print one JSON object instead of the name", FLAG),
    *_as_in(GET, "quiet"),
)  # fmt: skip

_TOKEN = Option(("--token-file",), "token_file", SECURITY, "File with the token of its console", "file",
                more="That of its `--console-token-file`; without it requests are signed, if the swarm has a secret")
CACHE = (
    Option(("-n", "--node"), "nodes", SWARM, "Speak of the copies of this supernode", "host[:port][=weight]",
           many=True, default="none", more="Port 8002 if absent. `import` takes several"),
    Option(("--ttl",), "ttl", SWARM, "import: keep the file for this long", "duration", default="24h", more="At most 30 days"),
    *_as_in(GET, "ip", "port", "home"),
    _TOKEN, *TRUST,
    Option(("--json",), "json", MESSAGES, "Print JSON", FLAG, more="`ls`: one object; `stat`: one for each that is found"),
    *_as_in(GET, "quiet"),
)  # fmt: skip

PREHEATED = "What is fetched"

PREHEAT = (
    Option(("--platform",), "platforms", PREHEATED, "Image's OS/ARCH, or all; repeatable", "platform", many=True,
           default="its own", more="That of the supernode"),
    Option(("--plain-http",), "plain_http", PREHEATED, "The registry of docker:// speaks http, not https", FLAG),
    *(each.replace(group=PREHEATED) for each in _as_in(GET, "filter", "identifier", "md5")),
    Option(("--pin",), "pin", PREHEATED, "Keep it until it is unpinned", FLAG, more="`dfengine cache unpin`"),
    *_as_in(GET, "nodes"),
    Option(("--scope",), "scope", SWARM, "To single_seed_peer, all_seed_peers or all_peers", "scope",
           more="Of files and images to this supernode, or to all that it knows; of images also to the hosts whose proxies take such work"),
    Option(("--ips",), "ips", SWARM, "Of those only this host; repeatable", "address", many=True, default="all"),
    Option(("--count",), "count", SWARM, "Only so many of them, by chance", "0..1000000", default="all"),
    Option(("--percentage",), "percentage", SWARM, "Only so many percent of them", "1..100", default="all"),
    *_as_in(GET, "headers", "user", "netrc", "netrc_file", "cacerts", "insecure"),
    Option(("--wait",), "wait", MESSAGES, "Wait until it is fetched; a signal cancels it", FLAG),
    *(each.replace(more="With `--wait`; what is not fetched by then is cancelled") for each in _as_in(GET, "timeout")),
    Option(("--json",), "json", MESSAGES, "Print JSON", FLAG, more="An object for each file or image; `ls`: one object"),
    *_as_in(GET, "quiet"),
    Option(("--token-file",), "token_file", SECURITY, "File with the supernode's token for preheats", "file",
           more="That of its `--preheat-token-file`, not its console's; without it requests are signed, if the swarm has a secret"),
    *TRUST,
)  # fmt: skip

OBSERVED = "What is shown"

STATUS = (
    Option(("-n", "--node"), "nodes", SWARM, "Supernode; repeat for several", "host[:port][=weight]", many=True, default="127.0.0.1",
           more="Port 8002 if absent"),
    _TOKEN, *TRUST,
    Option(("--json",), "json", MESSAGES, "Print JSON", FLAG, more="An object on a line for each, with the fields of docs/api.md"),
)  # fmt: skip

_LIMIT = Option(("--limit",), "limit", OBSERVED, "Most rows of each supernode", "1..100000", default="50")
_SORT = Option(("--sort",), "sort", OBSERVED, "Field by which rows are ordered", more="Numbers begin with the largest, names with a")

TASKS = (
    Option(("--active",), "active", OBSERVED, "Only those that somebody downloads, or that are fetched", FLAG),
    _SORT.replace(kind="task order", default="rate"), _LIMIT, *STATUS,
)  # fmt: skip

HOSTS = (_SORT.replace(kind="host order", default="down_rate"), _LIMIT, *STATUS)

TOP = (
    Option(("--interval",), "interval", OBSERVED, "Look again after this", "duration", default="2s"),
    Option(("--count",), "count", OBSERVED, "End after so many looks", "0..1000000", default="0, never",
           more="1 where stdout is no terminal"),
    *STATUS,
)  # fmt: skip

COMMANDS = {"get": GET, "supernode": SUPERNODE, "peer": PEER, "proxy": PROXY, "share": SHARE, "cache": CACHE, "preheat": PREHEAT,
            "status": STATUS, "tasks": TASKS, "hosts": HOSTS, "top": TOP}
"""The whole table; groups are shown in the order in which they first come."""
