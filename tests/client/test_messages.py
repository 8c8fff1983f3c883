"""Both sides of each message: a supernode decodes what a client encodes, and vice versa."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine import wire
from dfengine.client import messages
from dfengine.errors import BadValue, ProtocolViolation, RemoteError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBER = st.integers(-1, 1 << 40)
PIECE = st.integers(0, 1 << 20)
RUNS = st.lists(st.tuples(PIECE, PIECE), max_size=3)


@given(
    st.builds(
        messages.Registration, raw_url=TEXT, task_url=TEXT, cid=TEXT, ip=TEXT, host_name=TEXT, port=st.integers(0, 65535), path=TEXT,
        version=TEXT, md5=TEXT, identifier=TEXT, call_system=TEXT, headers=st.lists(TEXT, max_size=2).map(tuple), insecure=st.booleans(),
        root_cas=st.lists(TEXT, max_size=2).map(tuple), pattern=TEXT, stream_mode=st.booleans(), window_size=st.integers(1, 100),
        in_order=st.booleans(), location=TEXT,
    ),
    TEXT,
)  # fmt: skip
def test_a_registration_is_decoded_as_encoded(sent: messages.Registration, supernode: str) -> None:
    read = wire.Registration.decode(sent.encode(supernode))
    assert (read.super_node_ip, read.native) == (supernode, wire.NATIVE)
    for name in sent.FIELDS:
        said = getattr(sent, name)
        if name == "window_size" and not sent.stream_mode:
            said = -1
        assert (tuple(getattr(read, name) or ()) if isinstance(said, tuple) else getattr(read, name)) == said


@given(
    TEXT, TEXT, st.lists(st.tuples(PIECE, TEXT), max_size=3), st.lists(st.tuples(PIECE, TEXT, TEXT), max_size=3), RUNS, RUNS,
    st.integers(0, 64), st.floats(0, 30), PIECE, st.integers(-1, 1 << 20), st.none() | st.lists(PIECE, min_size=1, max_size=64),
)  # fmt: skip
def test_a_pull_is_decoded_as_encoded(
    task: str, cid: str, done: list[tuple[int, str]], failed: list[tuple[int, str, str]], held: list[tuple[int, int]],
    evicted: list[tuple[int, int]], want: int, wait: float, una: int, end: int, pieces: list[int] | None,
) -> None:  # fmt: skip
    fields: dict[str, Any] = {
        "done": done, "failed": failed, "held": held, "evicted": evicted, "want": want, "wait": wait, "una": una, "end": end,
    }  # fmt: skip
    wished = pieces if want else None
    pull = messages.encode_pull(task, cid, **fields, wanted_pieces=pieces)
    assert wire.decode_pull(pull) == wire.Pull(task, cid, **fields, pieces=wished)


@given(
    NUMBER, NUMBER, TEXT,
    st.lists(st.tuples(PIECE, TEXT, st.lists(st.tuples(TEXT, TEXT, st.integers(0, 65535), TEXT), max_size=3)), max_size=3),
)  # fmt: skip
def test_the_answer_to_a_pull_is_decoded_as_encoded(code: int, length: int, msg: str, offers: list[Any]) -> None:
    named = [wire.Offer(n, digest, tuple(wire.Source(*each) for each in where)) for n, digest, where in offers]
    said = wire.Pulled(code, named, length, msg=msg)
    read = messages.decode_pulled(wire.encode(said))
    assert (read.code, read.length, read.msg) == (code, length, msg)
    assert [(offer.piece, offer.digest, [(s.cid, s.ip, s.port, s.path) for s in offer.sources]) for offer in read.offers] == offers


@given(NUMBER, st.one_of(st.none(), st.tuples(TEXT, NUMBER, NUMBER, TEXT, st.integers(0, 3), TEXT, TEXT)), TEXT, TEXT)
def test_the_answer_to_a_registration_is_decoded_as_encoded(code: int, data: tuple[Any, ...] | None, msg: str, message: str) -> None:
    names = ("task_id", "file_length", "piece_size", "cdn_source", "native", "generation", "digest")
    registered = None if data is None else wire.Registered(**dict(zip(names, data, strict=True)))
    read = messages.decode_registered(wire.encode(wire.Answer(code, registered, msg, message)))
    assert (read.code, read.message) == (code, message or msg)
    if data is not None:
        assert (read.task, read.length, read.piece_size, read.cdn_source, read.native, read.generation, read.digest) == data


@given(st.lists(st.builds(wire.PieceSource, TEXT, PIECE, PIECE, TEXT, TEXT, TEXT, st.integers(0, 65535), TEXT), max_size=3))
def test_the_answers_to_a_1x_pull_are_decoded_as_encoded(said: list[wire.PieceSource]) -> None:
    read = messages.decode_pulled1(wire.encode(wire.Answer(wire.CONTINUE, said)))
    assert [(p.range, p.piece, p.piece_size, p.digest, p.source) for p in read.pieces] == [
        (p.range, p.piece_num, p.piece_size, p.piece_md5, messages.Source(p.cid, p.peer_ip, p.peer_port, p.path)) for p in said
    ]
    read = messages.decode_pulled1(wire.encode(wire.Answer(wire.FINISHED, wire.Finished(7, "ab"), "m")))
    assert (read.framed_length, read.md5, read.message) == (7, "ab", "m")
    assert messages.decode_pulled1(wire.encode(wire.Answer(wire.WAIT, msg="m"))) == messages.Pulled1(wire.WAIT, "m")


DATA = {"taskId": "t", "fileLength": 1, "pieceSize": 6, "cdnSource": "supernode"}
GARBAGE: list[Any] = [
    b"", b"null", b"[]", b"7", b"{}", b"\xff", b"{", b"[" * 100_000, b'{"code":' + b"9" * 5000 + b"}", b'{"code":1e9}', b'{"code":true}',
    {"code": "200"}, {"code": 1 << 64}, {"code": None}, {"code": 200, "msg": 7},
]  # fmt: skip


def raises(decode: Any, body: Any) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        decode(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("decode", [messages.decode_pulled, messages.decode_registered, messages.decode_pulled1])
@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: str(body)[:20])
def test_garbage_is_a_protocol_violation(decode: Any, body: Any) -> None:
    raises(decode, body)


@pytest.mark.parametrize(
    "offers", [7, [7], [[]], [[1]], [[1, "ab"]], [["1", "ab", []]], [[1, 2, []]], [[1, "ab", {}]], [[1, "ab", [["c", "ip", "1", "/"]]]],
               [[1, "ab", [["c", "ip", 1]]]], [[1, "ab", [7]]], [[1 << 70, "ab", []]], {"a": 1}],
)  # fmt: skip
def test_malformed_offers_are_a_protocol_violation(offers: Any) -> None:
    raises(messages.decode_pulled, {"code": 601, "offers": offers})


@pytest.mark.parametrize(
    "data", [7, [], {}, {**DATA, "taskId": 7}, {**DATA, "fileLength": "1"}, {**DATA, "fileLength": 1.5}, {**DATA, "pieceSize": True}]
)
def test_malformed_registration_answers_are_a_protocol_violation(data: Any) -> None:
    raises(messages.decode_registered, {"code": 200, "data": data})


@pytest.mark.parametrize("data", [7, {}, [7], [{}], [{"range": 7}]])
def test_malformed_1x_pieces_are_a_protocol_violation(data: Any) -> None:
    raises(messages.decode_pulled1, {"code": 601, "data": data})


def test_unknown_fields_are_ignored() -> None:
    assert messages.decode_registered(json.dumps({"code": 200, "data": {**DATA, "native": None, "x": [1]}, "y": {}}).encode()).task == "t"
    assert messages.decode_pulled(b'{"code":602,"count":3,"later":{"a":[1]},"offers":[[0,"d",[["c","i",1,"/","more"]],"more"]]}').offers


def test_a_report_can_be_decoded_by_a_supernode() -> None:
    body = messages.encode_report("t", "c", "1.2.3.4", 0, error=RemoteError("gone"), duration=0.5, length=7, call_system="",
                                   reason="gone \ud800", counts={"hedged": 1, "resumed": 0})
    assert wire.folded(body) == {
        "taskid": "t", "cid": "c", "ip": "1.2.3.4", "port": 0, "success": False, "duration": 0.5, "filelength": 7,
        "backsourcereason": "gone ?", "failure": "gone", "hedged": 1,
    }  # fmt: skip


def test_a_form_that_is_too_long_is_refused() -> None:
    form = b"rawUrl=" + b"%41" * 10
    assert wire.Registration.decode(form, form=True).raw_url == "A" * 10
    with pytest.raises(ProtocolViolation, match="longer than"):
        wire.Registration.decode(form + b"%41" * (wire.MAX_FORM // 3), form=True)


@pytest.mark.parametrize("body", [
    b'{"cID": "a", "x": [%s]}' % b",".join([b"[]"] * 340_000),
    b'{%s}' % b",".join(b'"%d":0' % n for n in range(110_000)),
], ids=["lists", "keys"])  # fmt: skip
def test_unknown_fields_of_a_registration_take_little_memory(body: bytes) -> None:
    tracemalloc.start()
    with contextlib.suppress(ProtocolViolation):
        assert wire.Registration.decode(body).cid == "a"
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4 << 20


@pytest.mark.parametrize(("body", "error", "words"), [
    (b'[{"cid": 1}]', ProtocolViolation, "not a JSON object"),
    (b'{"cid": "a"', ProtocolViolation, "cannot be read"),
    (b'{"cid": "\xff"}', ProtocolViolation, "cannot be read"),
    (b'{"x": [1, }', ProtocolViolation, "cannot be read"),
    (b'{"cid": ' + b"[" * 100_000, ProtocolViolation, "cannot be read"),
    (b'{"Port": "80"}', BadValue, r"Expected `int`, got `str` - at `\$.port`"),
    (b'{"headers": [[]]}', BadValue, r"at `\$.headers\[0\]`"),
])  # fmt: skip
def test_malformed_registrations_are_refused(body: bytes, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        wire.Registration.decode(body)


def test_keys_of_a_registration_are_case_insensitive_and_nulls_are_absent() -> None:
    body = b'{"RawURL": "u:1", "cID": "a", "cid": null, "port": null, "PORT": 7, "other": {"a": "\\u00e4"}, "HEADERS": ["a:b"]}'
    read = wire.Registration.decode(body)
    assert (read.raw_url, read.cid, read.port, read.headers) == ("u:1", "a", 7, ["a:b"])
