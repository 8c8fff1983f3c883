"""Events reach a descriptor in order; one that nobody reads holds up nobody."""

from __future__ import annotations

import json
import os

from dfengine.net import event_log
from dfengine.net.event_log import EventLog


def test_lines_come_in_order_and_what_is_held_back_is_counted() -> None:
    reader, writer = os.pipe()
    log = EventLog("json", "info", writer)
    log.debug("quiet")
    for n in range(event_log.BURST + 50):
        log.info("many", n=n)
    log.warning("other", url="http://h/f?secret")
    log.close()
    os.close(writer)
    with os.fdopen(reader) as file:
        lines = [json.loads(line) for line in file]
    many = [line["n"] for line in lines if line["event"] == "many"]
    assert many == list(range(len(many)))
    [held] = [line for line in lines if line["event"] == "events_suppressed"]
    assert (held["kind"], held["count"] + len(many)) == ("many", event_log.BURST + 50)
    assert [line["url"] for line in lines if line["event"] == "other"] == ["http://h/f?..."]
    assert not [line for line in lines if line["event"] == "quiet"]


def test_a_reader_that_does_not_read_holds_up_nobody() -> None:
    reader, writer = os.pipe()
    log = EventLog("text", "info", writer)
    for n in range(event_log.MOST + 5000):
        log.access(n=n, text="x" * 100)
    assert log._writer.take_lost() > 0
    log.close()
    os.close(reader)  # the thread's write ends by EPIPE
    os.close(writer)


def test_nothing_is_told_at_the_level_off() -> None:
    log = EventLog("text", "off", -1)
    log.error("any")
    log.close()
    assert not log.writes("error")
