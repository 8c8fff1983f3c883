"""A name server for tests, with the SRV records of one name."""

from __future__ import annotations

import socket
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset

NAME = "_dfengine._tcp.test."


class NameServer:
    """On UDP, on an address of this host. records: of NAME; None: NXDOMAIN. silent: sends no responses; garbage: sends invalid DNS."""

    def __init__(self, address: str = "127.0.0.53", port: int = 0) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        self.records: list[str] | None = []
        self.ttl = 60
        self.silent = False
        self.garbage = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            asked, address = self.socket.recvfrom(4096)
            if asked == b"end":
                return
            if self.silent:
                continue
            if self.garbage:
                self.socket.sendto(asked[:2] + b"\xff" * 40, address)
                continue
            answer = dns.message.make_response(dns.message.from_wire(asked))
            answer.flags |= dns.flags.RA
            if self.records is None:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            elif self.records:
                answer.answer.append(dns.rrset.from_text(NAME, self.ttl, "IN", "SRV", *self.records))
            self.socket.sendto(answer.to_wire(), address)

    def resolver(self) -> dns.resolver.Resolver:
        made = dns.resolver.Resolver(configure=False)
        made.nameservers = [self.address]
        made.port = self.socket.getsockname()[1]
        return made

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"end", self.socket.getsockname())
        self._thread.join(60)
        self.socket.close()
