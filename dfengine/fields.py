"""Names in 1.x's messages: fields by the attributes that hold them, query parameters; client and supernode both use these.

The supernode compares the keys of requests without regard to case. `docs/protocol.md` says what each field means.
"""

REGISTRATION = {
    "super_node_ip": "superNodeIp",
    "raw_url": "rawUrl",
    "task_url": "taskUrl",
    "cid": "cid",
    "ip": "ip",
    "host_name": "hostName",
    "port": "port",
    "path": "path",
    "version": "version",
    "md5": "md5",
    "identifier": "identifier",
    "call_system": "callSystem",
    "headers": "headers",
    "dfdaemon": "dfdaemon",
    "insecure": "insecure",
    "root_cas": "rootCAs",
    "task_id": "taskId",
    "file_length": "fileLength",
    "as_seed": "asSeed",
    "pattern": "pattern",
    "stream_mode": "streamMode",
    "window_size": "windowsize",
    "native": "native",
    "in_order": "inOrder",
    "location": "location",
    "signed_url": "signedUrl",
    "private": "private",
    "origin_tries": "originTries",
    "origin_retry_time": "originRetryTime",
    "origin_connect_time": "originConnectTime",
    "origin_first_byte_time": "originFirstByteTime",
    "tree": "tree",
    "include": "include",
    "exclude": "exclude",
    "manifest": "manifest",
    "follows": "follows",
}
"""`POST /peer/registry`; native, inOrder, location, signedUrl, private, and those of the origin and of a tree, are dfengine's own."""

REGISTERED = {
    "task_id": "taskId",
    "file_length": "fileLength",
    "piece_size": "pieceSize",
    "cdn_source": "cdnSource",
    "as_seed": "asSeed",
    "seed_task_id": "seedTaskID",
    "native": "native",
    "generation": "generation",
    "digest": "digest",
    "etag": "etag",
    "last_modified": "lastModified",
    "undated": "undated",
    "coding": "coding",
    "cluster_name": "clusterName",
    "vary": "vary",
}
"""`data` of its answer; those from native on are dfengine's own."""

PIECE_SOURCE = {
    "range": "range",
    "piece_num": "pieceNum",
    "piece_size": "pieceSize",
    "piece_md5": "pieceMd5",
    "cid": "cid",
    "peer_ip": "peerIp",
    "peer_port": "peerPort",
    "path": "path",
    "down_link": "downLink",
}
"""An element of `data` of a 601 answer to a pull."""

FINISHED = {"file_length": "fileLength", "md5": "md5"}
"""`data` of a 600 answer to a pull."""

TASK_ID, CID, SRC_CID, DST_CID = "taskId", "cid", "srcCid", "dstCid"
RANGE, PIECE_RANGE, STATUS, RESULT, ERROR_TYPE = "range", "pieceRange", "status", "result", "errorType"
"""Query parameters of pulls and reports. The download is `srcCid` in pulls and in reports of an error, else `cid`; the source `dstCid`."""

WHY = {"FILE_NOT_EXIST": "gone", "FILE_MD5_NOT_MATCH": "digest"}
"""errorType of `GET /peer/piece/error` -> the native word for it."""

ERROR_TYPES = {why: kind for kind, why in WHY.items()}
