#!/bin/sh
# a commit that cannot write the new length of its base leaves the base longer in memory alone; the next commit does not write the length either, and what it committed past the old end is gone when the image is opened again
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "/n0.qcow2 has 16 sectors and showed 8\nn0 <- n1\nt0\nt1"
DEFECT = "length"
TRIES = 1
SECTORS = 16
IMAGES = {
    "/n0.qcow2": "eNoLdPP8zcDAwMyACrgglACMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGhAbeePglEwCkbBKBgFo2AEAABVFwMU",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuAlSYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9AD11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAAXfEKpA==",
    "/t0.qcow2": "eNoLdPP8zcDAwMyACrgglAKMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAk0YDJA==",
    "/t1.qcow2": "eNoLdPP8zcDAwMyACrgglAKMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAk0YDJA==",
}
ACTIONS = [
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f0\"}}"],
    ["qmp", "{\"arguments\":{\"driver\":\"blkdebug\",\"image\":\"f0\",\"inject-error\":[{\"errno\":5,\"event\":\"none\",\"iotype\":\"write\",\"once\":true}],\"node-name\":\"d0\"},\"execute\":\"blockdev-add\"}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n0\",\"file\":\"d0\",\"backing\":null,\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f1\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"f1\",\"backing\":\"n0\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f2\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"t0\",\"file\":\"f2\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f3\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"t1\",\"file\":\"f3\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"block-commit\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j0\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-commit\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j1\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"job-complete\",\"arguments\":{\"id\":\"j1\"}}"],
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
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1002\",\"mode\":\"hard\"}}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1003\",\"node-name\":\"t1\",\"name\":\"g1003\"}}"],
    ["connect", 1003, "g1003"],
    ["read", 1003, 0, 0, 16, 0, False],
    ["leave", 1003],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1003\",\"mode\":\"hard\"}}"],
    ["quit"],
    ["reopened", "/n0.qcow2", "qcow2"],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
