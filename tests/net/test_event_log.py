"""Events are written to a descriptor in order; a descriptor that no process reads causes no delays."""

from __future__ import annotations

import json
import os

from dfengine.net import event_log
from dfengine.net.event_log import EventLog


def test_lines_are_written_in_order_and_suppressed_events_are_counted() -> None:
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


def test_a_descriptor_that_is_not_read_does_not_block_the_log() -> None:
    reader, writer = os.pipe()
    log = EventLog("text", "info", writer)
    for n in range(event_log.MAX_WAITING + 5000):
        log.access(n=n, text="x" * 100)
    assert log._writer.take_lost() > 0
    log.close()
    os.close(reader)  # the thread's write ends with EPIPE
    assert log._writer._thread is not None
    log._writer._thread.join(60)  # it would write into the next descriptor of that number
    assert not log._writer._thread.is_alive()
    os.close(writer)


def test_level_off_writes_nothing() -> None:
    reader, writer = os.pipe()
    log = EventLog("text", "off", writer)
    assert not log.writes("error")
    log.error("any")
    log.close()
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)
