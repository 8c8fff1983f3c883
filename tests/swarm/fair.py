"""The virtual swarm with links shared as by TCP (max-min fairness): other transfers use the bandwidth that one transfer cannot use."""

from __future__ import annotations

from tests.swarm.virtual import SUPERNODE, Simulation, Transfer


class FairSimulation(Simulation):
    """Slower than `Simulation`, but correct for different rates. rate: pieces per second of links that `up` and `down` do not name."""

    rate = 1.0

    def share(self, transfer: Transfer) -> None:
        links: dict[tuple[str, str], list[Transfer]] = {}
        active = [other for others in self.active.values() for other in others]
        for other in active:
            other.left -= other.rate * (self.now - other.since)
            other.since = self.now
            for link in self.links(other):
                links.setdefault(link, []).append(other)
        spare = {link: (self.up if link[0] == "up" else self.down).get(link[1], self.rate) for link in links}
        waiting = {link: dict.fromkeys(others) for link, others in links.items()}
        while waiting:
            tightest = min(waiting, key=lambda link: spare[link] / len(waiting[link]))
            rate = spare[tightest] / len(waiting[tightest])
            for other in list(waiting[tightest]):
                for link in self.links(other):
                    spare[link] = max(0.0, spare[link] - rate)
                    del waiting[link][other]
                    if not waiting[link]:
                        del waiting[link]
                self.run_at(other, max(rate, 1e-9))

    def links(self, transfer: Transfer) -> tuple[tuple[str, str], tuple[str, str]]:
        """Links that a transfer uses: its source's upstream and its receiver's downstream."""
        source = transfer.source
        return ("up", source if source == SUPERNODE else self.clients[source].host), ("down", transfer.client.host)

    def run_at(self, transfer: Transfer, rate: float) -> None:
        """Set the rate of a transfer, in pieces per second."""
        if transfer.rate == rate and transfer.version and transfer.left < transfer.size:
            return
        transfer.rate = rate
        transfer.version += 1
        seconds = max(0.0, transfer.left) / rate
        self.at(self.now + seconds, self.landed, transfer, transfer.version)
        if self.delays.lead and not transfer.told:
            self.at(self.now + max(0.0, seconds - self.delays.lead), self.ending, transfer, transfer.version)
