#!/bin/sh
# while a stream whose base is directly below its target waits for its end, whoever reads through the target copies what the base has into it, and does not see what is written to the base from then on
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "edges reported and not true:\n  n1 -file-> f1: needs consistent-read, write, resize; shares consistent-read, write-unchanged\n  n2 -file-> f2: needs consistent-read, write, resize; shares consistent-read, write-unchanged\nedges true and not reported:\n  n1 -file-> f1: needs consistent-read; shares consistent-read, write-unchanged\n  n2 -file-> f2: needs consistent-read; shares consistent-read, write-unchanged\nn0\nn1 <- n2 <- n3\nin reply to client 99: x-debug-query-block-graph"
DEFECT = "reply"
TRIES = 40
UNTRUE = "{\"return\": {\"edges\": [{\"name\": \"file\", \"parent\": 8, \"shared-perm\": [\"write-unchanged\", \"consistent-read\"], \"perm\": [\"resize\", \"write\", \"consistent-read\"], \"child\": 7}, {\"name\": \"backing\", \"parent\": 8, \"shared-perm\": [\"resize\", \"write-unchanged\", \"write\", \"consistent-read\"], \"perm\": [], \"child\": 6}, {\"name\": \"file\", \"parent\": 6, \"shared-perm\": [\"write-unchanged\", \"consistent-read\"], \"perm\": [\"resize\", \"write\", \"consistent-read\"], \"child\": 5}, {\"name\": \"backing\", \"parent\": 6, \"shared-perm\": [\"resize\", \"write-unchanged\", \"write\", \"consistent-read\"], \"perm\": [], \"child\": 4}, {\"name\": \"file\", \"parent\": 4, \"shared-perm\": [\"write-unchanged\", \"consistent-read\"], \"perm\": [\"resize\", \"write\", \"consistent-read\"], \"child\": 3}, {\"name\": \"file\", \"parent\": 2, \"shared-perm\": [\"write-unchanged\", \"consistent-read\"], \"perm\": [\"consistent-read\"], \"child\": 1}], \"nodes\": [{\"name\": \"n3\", \"type\": \"block-driver\", \"id\": 8}, {\"name\": \"f3\", \"type\": \"block-driver\", \"id\": 7}, {\"name\": \"n2\", \"type\": \"block-driver\", \"id\": 6}, {\"name\": \"f2\", \"type\": \"block-driver\", \"id\": 5}, {\"name\": \"n1\", \"type\": \"block-driver\", \"id\": 4}, {\"name\": \"f1\", \"type\": \"block-driver\", \"id\": 3}, {\"name\": \"n0\", \"type\": \"block-driver\", \"id\": 2}, {\"name\": \"f0\", \"type\": \"block-driver\", \"id\": 1}]}}"
IMAGES = {
    "/n0.qcow2": "eNoLdPP8zcDAwMyACrgglAOMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAD7MDRA==",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuA1SYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9AD11oFIyCUUBXwDEaBKNgFIxEwIgCR8EoGAUjCDSASYHRgBgFo2AUQMsDESgtMRogo2AUDGPACsRMo/SIpdlG6RFNs4/SI5rmGKVHNA0Au2sUcg==",
    "/n2.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuA1SYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9QD11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAA7c4KxQ==",
    "/n3.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEnBCuA1SYgRFCsUG5TEhiBAELEGc8qtQ6BaRZC5Pzy42QJPOM9NCFRgHdActoEIxUwAiHo2AEggYwyTEaEKNgFIxAAAArFAqx",
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
    ["qmp", "{\"execute\":\"block-stream\",\"arguments\":{\"device\":\"n2\",\"job-id\":\"j0\",\"base-node\":\"n1\",\"auto-finalize\":false}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-stream\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j1\",\"auto-finalize\":false}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1\",\"node-name\":\"n3\",\"name\":\"g1\"}}"],
    ["connect", 1, "g1"],
    ["read", 1, 0, 4, 1, 9223653511831486464, False],
    ["leave", 1],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1\",\"mode\":\"hard\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g2\",\"node-name\":\"n1\",\"name\":\"g2\",\"writable\":true}}"],
    ["connect", 2, "g2"],
    ["write", 2, 1, 3, 2, 9223935008283033600, False],
    ["leave", 2],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g2\",\"mode\":\"hard\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"job-finalize\",\"arguments\":{\"id\":\"j1\"}}"],
    ["qmp", "{\"execute\":\"job-finalize\",\"arguments\":{\"id\":\"j0\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"x-debug-query-block-graph\"}"],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
