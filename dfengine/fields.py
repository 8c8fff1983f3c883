"""Names in 1.x's messages, used by client and supernode: fields, by the attributes that store them, and query parameters.

The supernode compares the keys of requests case-insensitively. `docs/protocol.md` defines each field.
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
"""`POST /peer/registry`. native, inOrder, location, signedUrl, private, and the fields of the origin and of trees, are dfengine's own."""

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
"""`data` of its response; the fields from native on are dfengine's own."""

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
"""An element of `data` of a 601 response to a pull."""

FINISHED = {"file_length": "fileLength", "md5": "md5"}
"""`data` of a 600 response to a pull."""

TASK_ID, CID, SRC_CID, DST_CID = "taskId", "cid", "srcCid", "dstCid"
RANGE, PIECE_RANGE, STATUS, RESULT, ERROR_TYPE = "range", "pieceRange", "status", "result", "errorType"
"""Query parameters of pulls and reports. `srcCid` is the download in pulls and error reports, else `cid` is; `dstCid` is the source."""

WHY = {"FILE_NOT_EXIST": "gone", "FILE_MD5_NOT_MATCH": "digest"}
"""errorType of `GET /peer/piece/error` -> the word of the native pull."""

ERROR_TYPES = {why: kind for kind, why in WHY.items()}
