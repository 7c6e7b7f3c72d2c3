#!/bin/sh
# a node is sent to another thread, by x-blockdev-set-iothread, by an export with a fixed iothread or by a backup whose target is elsewhere, as a job of it comes to its end, such as a stream that was cancelled or a backup: the job's filter goes while the move waits in a drain, and the daemon ends with a segmentation fault or a failed assertion
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "ended with signal 11\nafter {\"execute\":\"x-blockdev-set-iothread\",\"arguments\":{\"node-name\":\"n1\",\"iothread\":\"io0\"}}\nn0 <- n1 <- (filter)\njob j1 paused 6144/32768 bytes"
DEFECT = "crash"
TRIES = 1000
IMAGES = {
    "/n0.qcow2": "eNrt2LEOQDAURuHbkKjqYDAYPI/E6C08hve2iLQSLFbxn89wcsV0h6Yxj9NmZoXdhZT1nF1KzGN5effq+HgxAB/lWQGgyD0eADLSDb9lEQAe50KX2+cOLAb4kSr/yKOa9VS6NZVuoNJtqHQjle4Ox4sVDw==",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXAguGDBCKB4olwVJjCAAKc54VKl1CkizFibnlxshSeYZ6KELjYJRMAroCjhGg2AUjIKRCBjhcBSMglEwwgCkhS8wGhCjYBSMglEwCkbBCAIA0xoLBA==",
}
ACTIONS = [
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f0\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n0\",\"file\":\"f0\",\"backing\":null,\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f1\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"f1\",\"backing\":\"n0\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"iothread\",\"id\":\"io0\"}}"],
    ["qmp", "{\"execute\":\"block-stream\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j1\",\"speed\":10240}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g0\",\"node-name\":\"n1\",\"name\":\"g0\",\"writable\":true,\"iothread\":\"io0\",\"fixed-iothread\":true}}"],
    ["connect", 0, "g0"],
    ["read", 0, 0, 0, 1, 9223372036854775808, False],
    ["leave", 0],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g0\",\"mode\":\"hard\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-job-cancel\",\"arguments\":{\"device\":\"j1\"}}"],
    ["qmp", "{\"execute\":\"x-blockdev-set-iothread\",\"arguments\":{\"node-name\":\"n1\",\"iothread\":\"io0\"}}"],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
