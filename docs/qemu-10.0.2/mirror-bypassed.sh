#!/bin/sh
# what a guest writes through an export put on the source after a mirror or an active commit began goes past the job, and the target ends without it
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "sector 0 of /t0.qcow2: guest 1002 expected g0.0.4, read zeroes\nn0 <- n1\nt0\nt1"
DEFECT = "sector"
TRIES = 1
SECTOR = 0
EXPECTED = ["g0.0.4"]
IMAGES = {
    "/n0.qcow2": "eNoLdPP8zcDAwMyACrgglAKMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAk0YDJA==",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuAlSYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9AD11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAAXfEKpA==",
    "/t0.qcow2": "eNoLdPP8zcDAwMyACrgglAKMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAk0YDJA==",
    "/t1.qcow2": "eNoLdPP8zcDAwMyACrgglAKMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAk0YDJA==",
}
ACTIONS = [
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f0\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n0\",\"file\":\"f0\",\"backing\":null,\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f1\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"f1\",\"backing\":\"n0\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f2\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"t0\",\"file\":\"f2\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f3\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"t1\",\"file\":\"f3\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-mirror\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j0\",\"target\":\"t0\",\"sync\":\"full\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g0\",\"node-name\":\"n1\",\"name\":\"g0\",\"writable\":true}}"],
    ["connect", 0, "g0"],
    ["write", 0, 1, 0, 1, 9223372054034644992, False],
    ["leave", 0],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g0\",\"mode\":\"hard\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"job-complete\",\"arguments\":{\"id\":\"j0\"}}"],
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
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1002\",\"node-name\":\"t0\",\"name\":\"g1002\"}}"],
    ["connect", 1002, "g1002"],
    ["read", 1002, 0, 0, 16, 0, False],
    ["leave", 1002],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
