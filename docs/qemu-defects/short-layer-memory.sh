#!/bin/sh
# while a stream runs, whoever reads past the end of a layer directly below its target, a guest or another job, gets success and whatever was in the daemon's memory; a write of part of a cluster makes that lasting
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "edges reported and not true:\n  n1 -file-> f1: needs consistent-read, write, resize; shares consistent-read, write-unchanged\nedges true and not reported:\n  n1 -file-> f1: needs consistent-read; shares consistent-read, write-unchanged\nn0\nn1 <- n2\nt0\nt1\nin reply to client 99: x-debug-query-block-graph"
DEFECT = "reply"
TRIES = 40
UNTRUE = "{\"return\": {\"edges\": [{\"name\": \"file\", \"parent\": 10, \"shared-perm\": [\"write-unchanged\", \"consistent-read\"], \"perm\": [\"resize\", \"write\", \"consistent-read\"], \"child\": 9}, {\"name\": \"file\", \"parent\": 8, \"shared-perm\": [\"write-unchanged\", \"consistent-read\"], \"perm\": [\"resize\", \"write\", \"consistent-read\"], \"child\": 7}, {\"name\": \"file\", \"parent\": 6, \"shared-perm\": [\"write-unchanged\", \"consistent-read\"], \"perm\": [\"resize\", \"write\", \"consistent-read\"], \"child\": 5}, {\"name\": \"backing\", \"parent\": 6, \"shared-perm\": [\"resize\", \"write-unchanged\", \"write\", \"consistent-read\"], \"perm\": [], \"child\": 4}, {\"name\": \"file\", \"parent\": 4, \"shared-perm\": [\"write-unchanged\", \"consistent-read\"], \"perm\": [\"resize\", \"write\", \"consistent-read\"], \"child\": 3}, {\"name\": \"file\", \"parent\": 2, \"shared-perm\": [\"resize\", \"write-unchanged\", \"write\", \"consistent-read\"], \"perm\": [], \"child\": 1}], \"nodes\": [{\"name\": \"t1\", \"type\": \"block-driver\", \"id\": 10}, {\"name\": \"f4\", \"type\": \"block-driver\", \"id\": 9}, {\"name\": \"t0\", \"type\": \"block-driver\", \"id\": 8}, {\"name\": \"f3\", \"type\": \"block-driver\", \"id\": 7}, {\"name\": \"n2\", \"type\": \"block-driver\", \"id\": 6}, {\"name\": \"f2\", \"type\": \"block-driver\", \"id\": 5}, {\"name\": \"n1\", \"type\": \"block-driver\", \"id\": 4}, {\"name\": \"f1\", \"type\": \"block-driver\", \"id\": 3}, {\"name\": \"n0\", \"type\": \"block-driver\", \"id\": 2}, {\"name\": \"f0\", \"type\": \"block-driver\", \"id\": 1}]}}"
IMAGES = {
    "/n0.raw": "eNrtwQENAAAAwqD3T20ON6AAAAAAAAAAgHcDIAAAAQ==",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAbEnBCuA1SYgRFCsUG5TEhiBAELEGc8qtQ6BbKnKLEcRTLPQA9daBTQHbCMBsFIBYwocBSMMNAAJjlGA2IUjKD0zgWleUZ8eMhDW3Oj9MikFUbpEU0DAJRCGz8=",
    "/n2.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuA1SYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9QD11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAA7c4KxQ==",
    "/t0.qcow2": "eNoLdPP8zcDAwMyACrgglAOMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAD7MDRA==",
    "/t1.qcow2": "eNoLdPP8zcDAwMyACrgglAOMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAD7MDRA==",
}
ACTIONS = [
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n0.raw\",\"auto-read-only\":true,\"node-name\":\"f0\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"raw\",\"node-name\":\"n0\",\"file\":\"f0\",\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f1\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"f1\",\"backing\":\"n0\",\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n2.qcow2\",\"auto-read-only\":true,\"node-name\":\"f2\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n2\",\"file\":\"f2\",\"backing\":\"n1\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f3\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"t0\",\"file\":\"f3\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f4\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"t1\",\"file\":\"f4\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"block-stream\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j1\",\"speed\":10240}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"blockdev-mirror\",\"arguments\":{\"device\":\"n2\",\"job-id\":\"j0\",\"target\":\"t0\",\"sync\":\"full\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"job-complete\",\"arguments\":{\"id\":\"j0\"}}"],
    ["qmp", "{\"execute\":\"block-job-set-speed\",\"arguments\":{\"device\":\"j1\",\"speed\":0}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"x-debug-query-block-graph\"}"],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
