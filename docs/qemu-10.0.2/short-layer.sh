#!/bin/sh
# a stream onto a base ends early at the end of a short layer directly below the target, and base data shows
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "sector 54 of /n3.qcow2: guest 1003 expected zeroes, read n0\nn0 <- n1 <- n2\nn0 <- n3"
DEFECT = "sector"
TRIES = 1
SECTOR = 54
EXPECTED = ["zeroes"]
IMAGES = {
    "/n0.qcow2": "eNrt2DsOQEAURuE7oRBRKBQK+/CsJUq7sAz71ojMSNBoxX8+xckV1S0mE/M4bWYW2V3qs56z88nCGF/evTo+XgzARyWsAFDkHg8AGf6Gn7MIAD8714rQMrRiMcBFHX7kUc02VLotlW5HpdtT6Q5Uujuq210P",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXAguGDBCKB4olwVJjCAAKc54VKl1CkizFibnlxshSeYZ6KELjYJRMAroCjhGg2AUjIKRCBjhcBSMglEwwgCkhS8wGhCjYBSMglEwCkbBCAIA0xoLBA==",
    "/n2.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuA1SYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9QD11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAA7c4KxQ==",
    "/n3.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXAguGDBCKB4olwVJjCAAKc54VKl1CkizFibnlxshSeYZ6aELjYJRMAroCjhGg2AUjIKRCBjhcBSMglEwwgCkhS8wGhCjYBSMglEwCkbBCAIA+hgLBg==",
}
ACTIONS = [
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f0\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n0\",\"file\":\"f0\",\"backing\":null,\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f1\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"f1\",\"backing\":\"n0\",\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n2.qcow2\",\"auto-read-only\":true,\"node-name\":\"f2\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n2\",\"file\":\"f2\",\"backing\":\"n1\",\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n3.qcow2\",\"auto-read-only\":true,\"node-name\":\"f3\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n3\",\"file\":\"f3\",\"backing\":\"n2\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"block-stream\",\"arguments\":{\"device\":\"n3\",\"job-id\":\"j1\",\"base-node\":\"n0\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"x-debug-query-block-graph\"}"],
    ["qmp", "{\"execute\":\"query-named-block-nodes\"}"],
    ["qmp", "{\"execute\":\"query-jobs\"}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1000\",\"node-name\":\"n0\",\"name\":\"g1000\"}}"],
    ["connect", 1000, "g1000"],
    ["read", 1000, 0, 0, 64, 0, False],
    ["leave", 1000],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1000\",\"mode\":\"hard\"}}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1001\",\"node-name\":\"n1\",\"name\":\"g1001\"}}"],
    ["connect", 1001, "g1001"],
    ["read", 1001, 0, 0, 64, 0, False],
    ["leave", 1001],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1001\",\"mode\":\"hard\"}}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1002\",\"node-name\":\"n2\",\"name\":\"g1002\"}}"],
    ["connect", 1002, "g1002"],
    ["read", 1002, 0, 0, 32, 0, False],
    ["leave", 1002],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1002\",\"mode\":\"hard\"}}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1003\",\"node-name\":\"n3\",\"name\":\"g1003\"}}"],
    ["connect", 1003, "g1003"],
    ["read", 1003, 0, 0, 64, 0, False],
    ["leave", 1003],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
