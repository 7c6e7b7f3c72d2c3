#!/bin/sh
# a cluster is written and discarded while flushes of the file fail: the refcount goes down in the file and the table still points to the cluster, though every request of the guest succeeded
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "/n2.qcow2 after a clean end: the check found 2 corruptions\nn0 <- n1 <- n2"
DEFECT = "corrupt"
TRIES = 40
IMAGES = {
    "/n0.qcow2": "eNoLdPP8zcDAwMyACrgglAKMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAk0YDJA==",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuAlSYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9AD11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAAXfEKpA==",
    "/n2.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuAlSYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9QD11oFIyCUUBXwDEaBKNgFIxEwIgER8EoGAUjCjSASYHRgBgFo2DE5n+R0bp/FIyCUTAKRsEoGEEAAL+nCzs=",
}
ACTIONS = [
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f0\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n0\",\"file\":\"f0\",\"backing\":null,\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f1\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"f1\",\"backing\":\"n0\",\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n2.qcow2\",\"auto-read-only\":true,\"node-name\":\"f2\"}}"],
    ["qmp", "{\"arguments\":{\"driver\":\"blkdebug\",\"image\":\"f2\",\"inject-error\":[{\"errno\":5,\"event\":\"none\",\"iotype\":\"flush\",\"once\":false}],\"node-name\":\"d2\"},\"execute\":\"blockdev-add\"}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n2\",\"file\":\"d2\",\"backing\":\"n1\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1\",\"node-name\":\"n2\",\"name\":\"g1\",\"writable\":true}}"],
    ["connect", 1, "g1"],
    ["write", 1, 1, 0, 1, 9223654615638081536, False],
    ["discard", 1, 4, 0, 2, 9223654628522983424, False],
    ["leave", 1],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1\",\"mode\":\"hard\"}}"],
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
    ["leave", 1002],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1002\",\"mode\":\"hard\"}}"],
    ["quit"],
    ["reopened", "/n2.qcow2", "qcow2"],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
