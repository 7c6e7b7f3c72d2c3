#!/bin/sh
# a guest discards a cluster that another guest's write has just been given: the cluster is free, and the table points to it all the same, so that the next one who gets it writes over the first one's data
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "/n3.qcow2 after a clean end: the check found 2 corruptions\nn0 <- n1 <- n2 <- n3"
DEFECT = "corrupt"
TRIES = 40
IMAGES = {
    "/n0.qcow2": "eNoLdPP8zcDAwMyACrgglAOMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAD7MDRA==",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuA1SYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9AD11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAA2k8KxA==",
    "/n2.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuA1SYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9QD11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAA7c4KxQ==",
    "/n3.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEnBCuA1SYgRFCsUG5TEhiBAELEGc8qtQ6BaRZC5Pzy42QJPOM9NCFRgHdActoEIxUwIgGR8GIAg1gkmM0IEbBEEinXIwQmgdK842WV6NgFIyCUTAKRgEZAACNhAxb",
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
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1\",\"node-name\":\"n3\",\"name\":\"g1\",\"writable\":true}}"],
    ["connect", 1, "g1"],
    ["discard", 1, 4, 0, 1, 9223653533306322944, False],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g0\",\"node-name\":\"n3\",\"name\":\"g0\",\"writable\":true}}"],
    ["connect", 0, "g0"],
    ["discard", 0, 4, 0, 1, 9223372058329612288, False],
    ["write", 0, 1, 23, 1, 9223373136366403584, True],
    ["discard", 1, 4, 23, 1, 9223654615638081536, False],
    ["leave", 1],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1\",\"mode\":\"hard\"}}"],
    ["answered", 0],
    ["leave", 0],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g0\",\"mode\":\"hard\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"x-debug-query-block-graph\"}"],
    ["qmp", "{\"execute\":\"query-named-block-nodes\"}"],
    ["qmp", "{\"execute\":\"query-jobs\"}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1000\",\"node-name\":\"n0\",\"name\":\"g1000\"}}"],
    ["connect", 1000, "g1000"],
    ["read", 1000, 0, 0, 32, 0, False],
    ["leave", 1000],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1000\",\"mode\":\"hard\"}}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1001\",\"node-name\":\"n1\",\"name\":\"g1001\"}}"],
    ["connect", 1001, "g1001"],
    ["read", 1001, 0, 0, 32, 0, False],
    ["leave", 1001],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1001\",\"mode\":\"hard\"}}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1002\",\"node-name\":\"n2\",\"name\":\"g1002\"}}"],
    ["connect", 1002, "g1002"],
    ["read", 1002, 0, 0, 32, 0, False],
    ["leave", 1002],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1002\",\"mode\":\"hard\"}}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1003\",\"node-name\":\"n3\",\"name\":\"g1003\"}}"],
    ["connect", 1003, "g1003"],
    ["read", 1003, 0, 0, 32, 0, False],
    ["leave", 1003],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1003\",\"mode\":\"hard\"}}"],
    ["quit"],
    ["reopened", "/n3.qcow2", "qcow2"],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
