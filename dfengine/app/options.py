"""The options of all commands in one table.

Made from it: click's parameters (`cli`), the fast parser of a plain command line (`plain_parser`), configuration files
(`configuration`), the environment, `--help` (`help`), the checks of `dfengine.get` and `dfengine.stream` (`keywords`) and the tables of
docs/commands.md.
Defaults are those of the settings (`dfengine.settings`): an option that is not given sets nothing.
"""

from __future__ import annotations

from dfengine import settings
from dfengine.app.option_kinds import CDN_PATTERN, FLAG, FORM, PATTERN, PRIVATE, SIGN, XET
from dfengine.value import Value

ENVIRONMENT = "DFENGINE"
"""Prefix of the environment variables of settings."""


class Option(Value):
    """flags: as typed, all with the same meaning. name: of the setting; configuration files accept - or _. help: one line. kind: of KINDS.

    many: the option is repeatable. default: in words, where the setting's own value does not explain it. more: text that only
    docs/commands.md shows. legacy: key in the configuration files of 1.x. hidden: only for a `get` that starts a peer server; not in help,
    files or environment. ignored: an option of 1.x without effect.
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
        """The option's name in a configuration file."""
        return self.name.replace("_", "-")

    def variable(self, command: str) -> str:
        """Name of the option's environment variable."""
        return f"{ENVIRONMENT}_{command}_{self.name}".upper()


OUTPUT, SWARM, ORIGIN, VERIFICATION = "Output", "Swarm", "Origin", "Verification"
LIMITS, PEER_SERVER, SECURITY, MESSAGES = "Limits", "This host's peer server", "TLS and secret", "Messages"
NETWORK, STORAGE, OTHER = "Network", "Storage", "Other"
FORWARD = "Forward proxy"
MANY = "Many files"
FORMER = "Options of Dragonfly 1.x without effect"

JOBS = 8
"""Default number of files that one command downloads at the same time."""

TRUST = (
    Option(
        ("--secret-file",), "secret_file", SECURITY, "File with the swarm's secret, mode 0600", "file", many=True,
        more="Requests are signed, and unsigned ones are refused (docs/security.md). Given twice: the first secret signs, both are "
        "accepted, so that a swarm can change its secret",
    ),
    Option(("--tls-cert",), "tls_cert", SECURITY, "This host's certificate (PEM), for TLS in the swarm", "file",
           more="See docs/security.md"),
    Option(("--tls-key",), "tls_key", SECURITY, "Key of --tls-cert (PEM, mode 0600), if not in that file", "file"),
    Option(("--tls-ca",), "tls_ca", SECURITY, "Certificate authority of the swarm (PEM)", "file", more="Others are not trusted"),
)  # fmt: skip
"""Options that all commands have."""

GET = (
    Option(("--url",), "url", OUTPUT, "The same as the argument URL", "url",
           more="`http`, `https`, or another scheme of docs/files.md; spaces and bytes that are not UTF-8 are percent-encoded"),
    Option(("-u",), "u", OUTPUT, "URL if it begins with a scheme and ://, else --user", "url|user[:password]", many=True,
           more="A URL as in 1.x, or a user as in curl"),
    Option(("-o", "--output"), "output", OUTPUT, "File, directory, or - for stdout", "file|dir|-", default="end of the URL",
           more="See \"Outputs\" below"),
    Option(("-P", "--dir"), "dir", OUTPUT, "Directory of the output; -o is relative to it", "dir", default="."),
    Option(("--create-dirs",), "create_dirs", OUTPUT, "Create the output's missing directories", FLAG),
    Option(("-J", "--remote-header-name"), "remote_header_name", OUTPUT, "Name the output after the Content-Disposition header", FLAG,
           more="Only if that header names a file; an existing file is not replaced without `--force`"),
    Option(("-O", "--remote-name", "-L", "-c", "--continue"), "accepted", OUTPUT, "Accepted: a download always does this", FLAG,
           more="These flags name the output after the URL, follow redirects, and resume"),
    Option(("-C", "--continue-at"), "continue_at", OUTPUT, "Accepted as -C -: a download always resumes", "-",
           more="Other offsets are refused"),
    Option(("--skip-existing",), "skip_existing", OUTPUT, "Exit at once with code 0 if the output exists", FLAG,
           more='`--json` then prints `{"url", "output", "skipped": true}`'),
    Option(("--force",), "force", OUTPUT, "Download again even if the output is up to date", FLAG),
    Option(("--stream",), "stream", OUTPUT, "The same as -o -: write to stdout in order", FLAG),
    Option(("--window",), "window", OUTPUT, "Stream: how far to fetch ahead", "pieces|size", default="up to 256M",
           more="Pieces (`16`) or bytes (`256M`) ahead of the reader. The default is smaller where memory is short"),
    Option(("--cache",), "cache", OUTPUT, "Stream: memory kept for peers", "size", default="up to 256M",
           more="Pieces stay in this memory after their delivery to the reader. The default is smaller where memory is short"),
    Option(("--input-file",), "input_file", MANY, "Download the URLs of this list; - reads stdin", "file",
           more="The list has aria2's format; see \"Many files\" below"),
    Option(("-j", "--jobs"), "jobs", MANY, "Files to download at the same time", "1..256", default=str(JOBS)),
    Option(("--recursive",), "recursive", MANY, "Download all files below the URL into DIR", FLAG,
           more="`dfengine get --recursive URL DIR`, or `-P DIR`. URL: bucket's prefix, repository, index; see \"Directories\" below"),
    Option(("--include",), "include", MANY, "--recursive: only matching files; repeatable", "glob", many=True, default="all",
           more="`*`, `?` and `[a-z]` match within a segment, `**` any directories; a glob without a slash matches names in any directory"),
    Option(("--exclude",), "exclude", MANY, "--recursive: skip matching ones; repeatable", "glob", many=True, default="none",
           more="It overrides `--include`"),
    Option(("--delete",), "delete", MANY, "Delete files in DIR that the origin does not list", FLAG,
           more="Only when all other files are complete, and never files that `--include` and `--exclude` leave out"),
    Option(("--dry-run",), "dry_run", MANY, "Print what would be downloaded, and write nothing", FLAG,
           more="For a directory: sizes and paths, and the files that `--delete` would delete; for a list: URLs and outputs"),
    Option(("-n", "--node"), "nodes", SWARM, "Supernode; repeat for several", "host[:port][=weight]", many=True, default="none",
           more="Or a list with commas. Defaults: port 8002, weight 1. `dns://NAME[:PORT]` stands for each address of the name, "
           "`srv://NAME` for its SRV records (docs/operating.md)", legacy="nodes"),
    Option(("-p", "--pattern"), "pattern", SWARM, "cdn: serve no peers; source: origin only", PATTERN,
           more="`p2p` and `cdn` fetch from peers and the supernode; `p2p` also serves peers"),
    Option(("--notbs",), "notbs", SWARM, "Never fall back to the origin when the swarm fails", FLAG),
    Option(("--no-join",), "no_join", SWARM, "Do not join other downloads of this host", FLAG,
           more="Without it, concurrent downloads of one file on one host fetch it once; see \"Downloads of one host\" below"),
    Option(("-f", "--filter"), "filter", SWARM, "Query parameters to leave out of the task id: a&b", "names",
           more="For URLs that contain a signature or a timestamp"),
    Option(("-i", "--identifier"), "identifier", SWARM, "Distinguishes versions served at one URL"),
    Option(("--private",), "private", SWARM, "Sharing of private files", PRIVATE, default="the supernode's",
           more="`share`: with clients that could open the file themselves; `split`: only with the same credentials (docs/security.md)"),
    Option(("--location",), "location", SWARM, "Where this host is, widest first: region|site|rack", "labels",
           more="Quote it for the shell. Among peers that have a piece and a free slot, the nearest is preferred"),
    Option(("--callsystem",), "callsystem", SWARM, "Name of the calling system, for the supernode's metrics"),
    Option(("-r", "--range"), "range", ORIGIN, "Only these bytes, counted from 0; -N: the last N", "a-b|a-|-n",
           more="Sent as the header `Range: bytes=...`, which is part of the task's identity"),
    Option(("-H", "--header"), "headers", ORIGIN, "Request header 'Name: value'; repeat for several", "header", many=True),
    Option(("-A", "--user-agent"), "user_agent", ORIGIN, "User-Agent header", "product", default="dfengine/VERSION",
           more="A `User-Agent` of `--header` overrides it"),
    Option(("--user",), "user", ORIGIN, "User and password (Basic authentication)", "user[:password]",
           more="Other users of this host can see the command line; `--netrc` avoids that"),
    Option(("--netrc",), "netrc", ORIGIN, "Read user and password from ~/.netrc", FLAG, more="See \"Users\" below"),
    Option(("--netrc-file",), "netrc_file", ORIGIN, "Read user and password from this file", "file"),
    Option(("--sign",), "sign", ORIGIN, "Credentials to use for s3, gs, az, hf", SIGN,
           more="`supernode`: the supernode's, for URLs of its `--origin-sign`; a download without a supernode uses this user's. `client`: "
           "this user's (docs/files.md). `none`: no credentials, for public files"),
    Option(("--connections",), "connections", ORIGIN, "Maximum number of connections to the origin", "1..16"),
    Option(("--retry",), "retry", ORIGIN, "Retries after a transient failure", "n"),
    Option(("--retry-max-time",), "retry_max_time", ORIGIN, "Start no retry after this time", "duration", default="no limit"),
    Option(("--connect-timeout",), "connect_timeout", ORIGIN, "Timeout of a connection attempt", "duration", default="30 s"),
    Option(("--first-byte-timeout",), "first_byte_timeout", ORIGIN, "Timeout for a response's head", "duration", default="by --minrate",
           more="From the request to the end of the response's headers"),
    Option(("--cacerts",), "cacerts", ORIGIN, "Additional CA certificates (PEM); repeat for several", "file", many=True,
           more="In addition to those of the system or of `SSL_CERT_FILE`"),
    Option(("--cert",), "cert", ORIGIN, "Client certificate (PEM)", "file"),
    Option(("--key",), "key", ORIGIN, "Private key of --cert (PEM), if not in that file", "file"),
    Option(("-k", "--insecure"), "insecure", ORIGIN, "Do not verify the origin's certificate", FLAG),
    Option(("-m", "--md5"), "md5", VERIFICATION, "Expected MD5 of the file; part of the task id", "hex",
           more="The supernode and the client verify it"),
    Option(("--digest",), "digest", VERIFICATION, "Expected md5, sha1, sha256, sha512, blake3 or xxh3", "algorithm:hex",
           more="Of the whole file; only the client verifies it. `xxh3` is XXH3-128; hex digits may be in either case"),
    Option(("-s", "--locallimit", "--limit-rate"), "locallimit", LIMITS, "Maximum receive rate", "rate", default="no limit",
           legacy="localLimit"),
    Option(("--totallimit",), "totallimit", LIMITS, "Maximum send rate of this host", "rate", default="no limit",
           legacy="totalLimit"),
    Option(("--minrate",), "minrate", LIMITS, "Abandon a source that is slower than this", "rate", legacy="minRate"),
    Option(("-e", "--timeout", "--max-time"), "timeout", LIMITS, "Fail after this time", "duration", default="no limit"),
    Option(("--ip",), "ip", PEER_SERVER, "Address at which peers reach this host", "ip", default="automatic",
           more="Automatic: the address used towards the supernode; `0.0.0.0` and `::` mean automatic, too"),
    Option(("--port",), "port", PEER_SERVER, "Port of the server, 15000..65000", "port", default="any free one"),
    Option(("--home",), "home", PEER_SERVER, "Directory of its records", "dir", legacy="workHome"),
    Option(("--alivetime",), "alivetime", PEER_SERVER, "Stop it after this idle time; 0: never", "duration"),
    Option(("--expiretime",), "expiretime", PEER_SERVER, "Serve the file this long after its last use", "duration"),
    *TRUST,
    Option(("--json",), "json", MESSAGES, "Print one JSON object at the end", FLAG, more="On stdout; on stderr if the file goes to stdout"),
    Option(("-q", "--quiet"), "quiet", MESSAGES, "Print errors only", FLAG),
    Option(("-v", "--verbose", "--console"), "verbose", MESSAGES, "Print each step, and the sources of the file", FLAG),
    Option(("-b", "--showbar"), "showbar", MESSAGES, "Show the progress bar even if stderr is not a terminal", FLAG),
    Option(("--dfdaemon",), "dfdaemon", FORMER, "1.x: the caller is dfdaemon", FLAG, ignored=True),
    Option(("--clientqueue",), "clientqueue", FORMER, "1.x: pieces processed at once", "0..1000000", ignored=True),
)  # fmt: skip

LOG = (
    Option(("--log-format",), "log_format", MESSAGES, "Format of the events on stderr", FORM),
    Option(("--log-level",), "log_level", MESSAGES, "Minimum: debug, info, warning, error; or off", "level",
           more="docs/operating.md lists the events"),
    Option(("--access-log",), "access_log", MESSAGES, "Log each answered request, too", FLAG),
)  # fmt: skip
"""Options that all servers have."""

SUPERNODE = (
    Option(("--port",), "port", NETWORK, "Control port; 0: any free one", "port", legacy="listenPort"),
    Option(("--download-port",), "download_port", NETWORK, "Port that serves pieces; 0: any free one", "port", legacy="downloadPort"),
    Option(("--host",), "host", NETWORK, "Address or name to listen on", "address", more="`::` accepts IPv4 as well"),
    Option(("--advertise-ip",), "advertise_ip", NETWORK, "Address at which clients reach it", "address", default="automatic",
           more="Automatic: the address of `--host`, or one of the host", legacy="advertiseIP"),
    Option(("--home-dir",), "home_dir", STORAGE, "Directory of cached files", "dir", more="For one supernode at a time", legacy="homeDir"),
    Option(("--max-length",), "max_length", STORAGE, "Refuse longer files", "size",
           more="Clients fetch longer files from the origin directly"),
    Option(("--disk-low",), "disk_low", STORAGE, "Remove cached files when less than this is free", "size",
           more="The least recently used ones first"),
    Option(("--disk-high",), "disk_high", STORAGE, "Remove cached files until this much is free", "size"),
    Option(("--store",), "store", STORAGE, "Object store that keeps a copy of complete files", "url", default="none",
           more="`s3://BUCKET/PREFIX`, `gs://`, `az://` or `file:///DIR`; it is read before the origin (docs/operating.md)"),
    Option(("--store-key-file",), "store_key_file", STORAGE, "File with the key that seals stored files", "file",
           default="the secret", more="Mode 0600; the same at all supernodes that share the store"),
    Option(("--task-expire-time",), "task_expire_time", SWARM, "Drop an unused task after this; its file stays", "duration",
           legacy="taskExpireTime"),
    Option(("--peer-gc-delay",), "peer_gc_delay", SWARM, "Drop a silent peer after this time", "duration", legacy="peerGCDelay"),
    Option(("--up-limit",), "up_limit", LIMITS, "Pieces that one peer sends at the same time", "1..10000", legacy="peerUpLimit"),
    Option(("--down-limit",), "down_limit", LIMITS, "Pieces that one 1.x download receives at once", "1..10000",
           more="`dfengine get` receives up to 8 at once", legacy="peerDownLimit"),
    Option(("--supernode-limit",), "supernode_limit", LIMITS, "Pieces of a task that the supernode sends at once", "1..10000"),
    Option(("--max-bandwidth",), "max_bandwidth", LIMITS, "Maximum send rate", "rate", default="no limit", legacy="maxBandwidth"),
    Option(("--private",), "private", SWARM, "Sharing of private files", PRIVATE,
           more="For clients that do not choose, such as all clients of 1.x (docs/security.md)"),
    Option(("--client-share",), "client_share", LIMITS, "Connections that one client may use, in percent", "1..100",
           more="It also limits registrations and queries (docs/reliability.md)"),
    Option(("--origin-limit",), "origin_limit", ORIGIN, "Direct downloads per origin at once; 0: no limit", "0..1000000",
           more="Downloads that fetch from the origin directly because the swarm fails; counted over all supernodes of a cluster"),
    Option(("--origin-connections",), "origin_connections", ORIGIN, "Connections to the origin per file", "1..16"),
    Option(("--fail-access-interval",), "fail_access_interval", ORIGIN, "Do not retry an unreachable URL for this long", "duration",
           legacy="failAccessInterval"),
    Option(("--revalidate-interval",), "revalidate_interval", ORIGIN, "Revalidate a cached file after this time", "duration"),
    Option(("--origin-allow",), "origin_allow", ORIGIN, "Fetch only from these origins; repeatable", "host|address|cidr", many=True,
           default="anywhere"),
    Option(("--origin-deny",), "origin_deny", ORIGIN, "Never fetch from these origins; repeatable", "host|address|cidr", many=True,
           more="In addition to link-local addresses and the metadata addresses of clouds (docs/security.md)"),
    Option(("--origin-root",), "origin_root", ORIGIN, "Directory that file:// URLs may read; repeatable", "dir", many=True,
           default="none", more="Every client that may register gets the files below it (docs/files.md)"),
    Option(("--origin-sign",), "origin_sign", ORIGIN, "Use own credentials below this URL; repeatable", "url", many=True,
           default="none", more="A bucket, a prefix of one, or a repository: `s3://models/llama/`, `hf://org/name`. Every client that "
           "may register gets the files that they open (docs/files.md)"),
    Option(("-n", "--node"), "nodes", SWARM, "Other supernode that preheats may reach; repeatable", "host[:port][=weight]", many=True,
           more="For the scope `all_seed_peers`, in addition to the members of the cluster (docs/images.md)"),
    Option(("--cluster",), "cluster", SWARM, "Redis through which supernodes share their tasks", "url", default="none",
           more="`redis://HOST`, `rediss://` (TLS), `unix:///PATH`, `sentinel://HOST,HOST/SERVICE`; the supernodes then read each file "
           "once from its origin (docs/operating.md)"),
    Option(("--cluster-key-file",), "cluster_key_file", SWARM, "File with the cluster's key, mode 0600", "file",
           default="the secret", more="The same at all supernodes, and on no other host. Private files require it (docs/security.md)"),
    *TRUST,
    Option(("--preheat-token-file",), "preheat_token_file", SECURITY, "File with a token for preheats, mode 0600", "file",
           more="For Harbor and other clients that cannot sign requests (docs/images.md)"),
    Option(("--console-token-file",), "console_token_file", SECURITY, "File with a token for the console, mode 0600", "file",
           more="It permits changes by the console and `/api/v2`, and reading where the swarm has a secret (docs/security.md)"),
    *LOG,
    Option(("--drain",), "drain", OTHER, "At SIGTERM, wait this long for downloads to end", "duration",
           more="New downloads are refused meanwhile; `/readyz` responds 503"),
    Option(("--config",), "config", OTHER, "Additional YAML file; it overrides the others", "file"),
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
    Option(("--home",), "home", STORAGE, "Home directory with the files to serve", "dir"),
    Option(("--totallimit",), "totallimit", LIMITS, "Maximum send rate", "rate", default="no limit"),
    Option(("--alivetime",), "alivetime", LIMITS, "Exit after this idle time; 0: never", "duration"),
    *TRUST,
    *LOG,
    Option(("--socket-fd",), "socket_fd", OTHER, "Descriptor of the listening socket", "descriptor", hidden=True),
    Option(("--lock-fd",), "lock_fd", OTHER, "Descriptor of the home's lock", "descriptor", hidden=True),
    Option(("--join-fd",), "join_fd", OTHER, "Descriptor of a connection to the download that starts it", "descriptor", hidden=True),
    Option(("--handover-fd",), "handover_fd", OTHER, "Descriptor of the socket that receives streams' memory", "descriptor", hidden=True),
)  # fmt: skip

REGISTRIES, BUCKETS = "Registries", "Buckets"


def _as_in(table: tuple[Option, ...], *names: str, legacy: bool = False) -> tuple[Option, ...]:
    """Options of another command that have the same meaning here."""
    return tuple(option if legacy else option.replace(legacy="") for option in table if option.name in names)


PROXY = (
    Option(("--listen",), "listen", NETWORK, "Address to listen on; repeatable", "ip:port|unix:path", many=True,
           default=f"127.0.0.1:{settings.PROXY_PORT}", more="An address that other hosts can reach requires `--allow` or `--token-file`"),
    Option(("--allow",), "allow", NETWORK, "Other hosts that may use the proxy; repeatable", "cidr", many=True),
    Option(("--token-file",), "token_file", NETWORK, "File with a token that each request must carry", "file",
           more="In the header `X-Dfengine-Token`"),
    Option(("--registry",), "registries", REGISTRIES, "Registry that clients may use; repeatable", "registry", many=True,
           more="`https://HOST`, `http://HOST:PORT`, or `NAME=https://HOST` if images name it differently. `USER:PASSWORD@` before the "
           "host is sent for clients that send no credentials. Requests that name no registry go to the first one"),
    Option(("--registry-auth",), "registry_auth", REGISTRIES, "Registry credentials: docker login's config.json", "file",
           more="Mode 0600. For registries of `--registry`, and only for read requests without credentials (docs/security.md)"),
    Option(("--only-registries",), "only_registries", REGISTRIES, "Use no other registries", FLAG,
           more="Without it, other registries are reached by https on port 443"),
    *(each.replace(group=REGISTRIES) for each in (*_as_in(GET, "cacerts", "insecure"), *_as_in(SUPERNODE, "origin_allow", "origin_deny"))),
    Option(("--hub",), "hub", REGISTRIES, "Model hub served at `/hub`", "url",
           more="A Hugging Face Hub. Clients use it with `HF_ENDPOINT=http://127.0.0.1:65001/hub`"),
    Option(("--xet",), "xet", REGISTRIES, "Transfers to clients that support Xet", XET,
           more="strip: plain HTTP, but Xet through this proxy over 50 GB; swarm: Xet through this proxy; passthrough: Xet past it"),
    Option(("--s3-bucket",), "s3_buckets", BUCKETS, "Bucket served at `/s3`; repeatable", "name=url|/dir", many=True,
           more="`NAME=s3://BUCKET/PREFIX` (`gs`, `az`), `NAME=https://HOST/DIR/` or `NAME=/DIR` (docs/s3.md)"),
    Option(("--s3-listen",), "s3_listen", BUCKETS, "Address that serves buckets at /; repeatable", "ip:port|unix:path", many=True,
           more="For clients that drop an endpoint's path. An address that other hosts can reach requires `--allow` or `--s3-keys`"),
    Option(("--s3-keys",), "s3_keys", BUCKETS, "File with access keys and secrets of clients", "file",
           more="Mode 0600, with a line `ACCESSKEY SECRET` for each key. Each request must then be signed with one of them"),
    Option(("--s3-fresh",), "s3_fresh", BUCKETS, "Revalidate an object after this time", "duration",
           more="A bucket's listing, too"),
    *(each.replace(group=BUCKETS) for each in _as_in(GET, "sign")),
    Option(("--rules",), "rules", FORWARD, "YAML list: which URLs go through the swarm", "file", default="all",
           more="The first rule with a `match` in the URL applies; other URLs are passed on (docs/proxy.md)"),
    Option(("--intercept",), "intercept", FORWARD, "Host to intercept https of; repeatable", "host[:port]|glob", many=True,
           more="Or a glob such as `*.example.org`; the default port is 443. Connections to all other hosts are tunnelled without being "
           "decrypted. Clients must trust the certificate that `dfengine proxy ca` prints"),
    Option(("--connect-port",), "connect_ports", FORWARD, "Port that CONNECT may use besides 443; repeatable", "port", many=True),
    Option(("--ca-cert",), "ca_cert", FORWARD, "CA certificate for intercepted hosts (PEM)", "file", default="its own",
           more="A certificate that is not a CA's is presented for all of these hosts"),
    Option(("--ca-key",), "ca_key", FORWARD, "Private key of --ca-cert, mode 0600", "file"),
    Option(("--forward-for-others",), "forward_for_others", FORWARD, "Be a forward proxy for other hosts, too", FLAG,
           more="Hosts that `--allow` or `--token-file` admits can then reach everything that this host can reach (docs/security.md)"),
    Option(("--cache-size",), "cache_size", STORAGE, "Maximum size of the blobs on disk", "size", default="no limit",
           more="The least recently used blobs are evicted, also when the disk is nearly full"),
    Option(("--dfdaemon",), "dfdaemon", REGISTRIES, "Settings of Dragonfly 1.x's dfdaemon.yml", "file",
           more="Options of the command line override them; settings without a counterpart are reported on stderr"),
    Option(("--write",), "write", REGISTRIES, "hosts-toml: write below DIR, such as /etc", "dir", default="print"),
    Option(("--private",), "private", SWARM, "Sharing of private files", PRIVATE,
           more="`share`: with clients that could open the file themselves; `split`: only with the same credentials (docs/security.md)"),
    Option(("--no-work",), "no_work", SWARM, "Accept no work from supernodes", FLAG,
           more="Without it, a preheat may have this proxy fetch blobs into its cache (docs/images.md)"),
    *_as_in(GET, "nodes", "location", "locallimit", "totallimit", "ip", "port", "home", "alivetime", "expiretime"),
    *TRUST,
    *LOG,
)  # fmt: skip

SHARE = (
    *_as_in(GET, "nodes"),
    Option(("--replicas",), "replicas", SWARM, "Number of supernodes that keep a copy", "n",
           more="`share` returns when these copies are complete and verified; then this host may go offline"),
    Option(("--ttl",), "ttl", SWARM, "Share it for this long; copies are kept as long", "duration", more="At most 30 days for copies"),
    Option(("--foreground",), "foreground", SWARM, "Keep running until then; an interrupt ends the share", FLAG,
           more="Without it, the host's peer server continues to share after `share` has ended"),
    *_as_in(GET, "location", "totallimit", "ip", "port", "home", "alivetime"),
    *TRUST,
    Option(("--json",), "json", MESSAGES, "Print one JSON object instead of the name", FLAG),
    *_as_in(GET, "quiet"),
)  # fmt: skip

_TOKEN = Option(("--token-file",), "token_file", SECURITY, "File with the supernode's console token", "file",
                more="The token of its `--console-token-file`; without one, requests are signed if the swarm has a secret")
CACHE = (
    Option(("-n", "--node"), "nodes", SWARM, "Use the copies of this supernode", "host[:port][=weight]",
           many=True, default="none", more="The default port is 8002. `import` takes several"),
    Option(("--ttl",), "ttl", SWARM, "import: keep the file for this long", "duration", default="24h", more="At most 30 days"),
    *_as_in(GET, "ip", "port", "home"),
    _TOKEN, *TRUST,
    Option(("--json",), "json", MESSAGES, "Print JSON", FLAG, more="`ls`: one object; `stat`: one object per match"),
    *_as_in(GET, "quiet"),
)  # fmt: skip

PREHEATED = "Preheated files"

PREHEAT = (
    Option(("--platform",), "platforms", PREHEATED, "Image's OS/ARCH, or all; repeatable", "platform", many=True,
           default="its own", more="The default is the supernode's platform"),
    Option(("--plain-http",), "plain_http", PREHEATED, "Use http, not https, for docker:// names", FLAG),
    *(each.replace(group=PREHEATED) for each in _as_in(GET, "filter", "identifier", "md5")),
    Option(("--pin",), "pin", PREHEATED, "Keep it until it is unpinned", FLAG, more="`dfengine cache unpin` does that"),
    *_as_in(GET, "nodes"),
    Option(("--scope",), "scope", SWARM, "single_seed_peer, all_seed_peers or all_peers", "scope",
           more="Files and images: this supernode, or all that it can reach; images also: the hosts with proxies that accept such work"),
    Option(("--ips",), "ips", SWARM, "Only this host of the scope; repeatable", "address", many=True, default="all"),
    Option(("--count",), "count", SWARM, "Only this many of them, chosen at random", "0..1000000", default="all"),
    Option(("--percentage",), "percentage", SWARM, "Only this percentage of them", "1..100", default="all"),
    *_as_in(GET, "headers", "user", "netrc", "netrc_file", "cacerts", "insecure"),
    Option(("--wait",), "wait", MESSAGES, "Wait until it is fetched; a signal cancels it", FLAG),
    *(each.replace(more="With `--wait`; unfinished preheats are then cancelled") for each in _as_in(GET, "timeout")),
    Option(("--json",), "json", MESSAGES, "Print JSON", FLAG, more="One object per file or image; `ls`: one object"),
    *_as_in(GET, "quiet"),
    Option(("--token-file",), "token_file", SECURITY, "File with the supernode's preheat token", "file",
           more="The token of its `--preheat-token-file`, not of its console; without one, requests are signed if the swarm has a secret"),
    *TRUST,
)  # fmt: skip

OBSERVED = "Display"

STATUS = (
    Option(("-n", "--node"), "nodes", SWARM, "Supernode; repeat for several", "host[:port][=weight]", many=True, default="127.0.0.1",
           more="The default port is 8002"),
    _TOKEN, *TRUST,
    Option(("--json",), "json", MESSAGES, "Print JSON", FLAG, more="One object per line, with the fields of docs/api.md"),
)  # fmt: skip

_LIMIT = Option(("--limit",), "limit", OBSERVED, "Maximum number of rows per supernode", "1..100000", default="50")
_SORT = Option(("--sort",), "sort", OBSERVED, "Field to sort rows by", more="Numbers are in descending order, names in ascending order")

TASKS = (
    Option(("--active",), "active", OBSERVED, "Only tasks with an unfinished download or a running fetch", FLAG),
    _SORT.replace(kind="task order", default="rate"), _LIMIT, *STATUS,
)  # fmt: skip

HOSTS = (_SORT.replace(kind="host order", default="down_rate"), _LIMIT, *STATUS)

TOP = (
    Option(("--interval",), "interval", OBSERVED, "Time between two samples", "duration", default="2s"),
    Option(("--count",), "count", OBSERVED, "Exit after this many samples", "0..1000000", default="0, never",
           more="1 if stdout is not a terminal"),
    *STATUS,
)  # fmt: skip

COMMANDS = {"get": GET, "supernode": SUPERNODE, "peer": PEER, "proxy": PROXY, "share": SHARE, "cache": CACHE, "preheat": PREHEAT,
            "status": STATUS, "tasks": TASKS, "hosts": HOSTS, "top": TOP}
"""Options by command. Groups are shown in the order of their first options."""
