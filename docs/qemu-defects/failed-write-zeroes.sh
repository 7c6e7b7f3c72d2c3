#!/bin/sh
# a write over a data cluster and a zero cluster next to it first makes both zero, so if it then fails, or the daemon is killed, what was written there before reads as zeroes
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "sector 0 of /n2.qcow2: guest 1002 expected g0.0.1 or g0.1.1, read zeroes\nn0 <- n1\nn2"
DEFECT = "sector"
TRIES = 1
SECTOR = 0
EXPECTED = ["g0.0.1", "g0.1.1"]
IMAGES = {
    "/n0.qcow2": "eNoLdPP8zcDAwMyACrgglAKMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAk0YDJA==",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuAlSYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9AD11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAAXfEKpA==",
    "/n2.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuAlSYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9QD11oFIyCUUBXwDEaBKNgFIxEwIgCR8EoGAUjCDSASYHRgBgFo2DE5n8RKC0x2gIYBaNgRDX/IYN/o/TIpJlG6RFNj4JRMApGLgAAISAOFA==",
}
ACTIONS = [
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f0\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n0\",\"file\":\"f0\",\"backing\":null,\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f1\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"f1\",\"backing\":\"n0\",\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n2.qcow2\",\"auto-read-only\":true,\"node-name\":\"f2\"}}"],
    ["qmp", "{\"arguments\":{\"driver\":\"blkdebug\",\"image\":\"f2\",\"inject-error\":[{\"errno\":5,\"event\":\"write_aio\",\"iotype\":\"write\",\"once\":true,\"state\":3}],\"node-name\":\"d2\",\"set-state\":[{\"event\":\"write_aio\",\"new_state\":2,\"state\":1},{\"event\":\"write_aio\",\"new_state\":3,\"state\":2}]},\"execute\":\"blockdev-add\"}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n2\",\"file\":\"d2\",\"backing\":\"n1\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"block-stream\",\"arguments\":{\"device\":\"n2\",\"job-id\":\"j2\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g0\",\"node-name\":\"n2\",\"name\":\"g0\",\"writable\":true}}"],
    ["connect", 0, "g0"],
    ["write", 0, 1, 0, 1, 9223372036854775808, False],
    ["write", 0, 1, 0, 1, 9223372041149743104, False],
    ["write", 0, 1, 0, 3, 9223373140661370880, False],
    ["leave", 0],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g0\",\"mode\":\"hard\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"x-debug-query-block-graph\"}"],
    ["qmp", "{\"execute\":\"query-named-block-nodes\"}"],
    ["qmp", "{\"execute\":\"query-jobs\"}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1000\",\"node-name\":\"n0\",\"name\":\"g1000\"}}"],
    ["connect", 1000, "g1000"],
    ["read", 1000, 0, 0, 16, 0, False],
    ["leave", 1000],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1000\",\"mode\":\"hard\"}}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1001\",\"node-name\":\"n1\",\"name\":\"g1001\"}}"],
    ["connect", 1001, "g1001"],
    ["read", 1001, 0, 0, 16, 0, False],
    ["leave", 1001],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1001\",\"mode\":\"hard\"}}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1002\",\"node-name\":\"n2\",\"name\":\"g1002\"}}"],
    ["connect", 1002, "g1002"],
    ["read", 1002, 0, 0, 16, 0, False],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
