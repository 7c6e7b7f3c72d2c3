#!/bin/sh
# whoever reads through the filter of a stream that has nothing to copy (its node has no backing file, or stands on the base already), a guest or another job, kills the daemon
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "ended with signal 11\nafter guest 0, read of 1 at 0\nn0 <- (filter) <- n1 <- n2 <- n3 <- n4\njob j1 pending 0/8192 bytes"
DEFECT = "crash"
TRIES = 40
IMAGES = {
    "/n0.qcow2": "eNoLdPP8zcDAwMyACrgglAKMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAk0YDJA==",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuAlSYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9AD11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAAXfEKpA==",
    "/n2.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuAlSYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9QD11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAAcXAKpQ==",
    "/n3.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuAlSYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9ID11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAAhO8Kpg==",
    "/n4.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuAlSYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9YD11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAAmG4Kpw==",
}
ACTIONS = [
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f0\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n0\",\"file\":\"f0\",\"backing\":null,\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f1\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"f1\",\"backing\":\"n0\",\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n2.qcow2\",\"auto-read-only\":true,\"node-name\":\"f2\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n2\",\"file\":\"f2\",\"backing\":\"n1\",\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n3.qcow2\",\"auto-read-only\":true,\"node-name\":\"f3\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n3\",\"file\":\"f3\",\"backing\":\"n2\",\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n4.qcow2\",\"auto-read-only\":true,\"node-name\":\"f4\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n4\",\"file\":\"f4\",\"backing\":\"n3\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"block-stream\",\"arguments\":{\"device\":\"n0\",\"job-id\":\"j1\",\"auto-finalize\":false}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g0\",\"node-name\":\"n4\",\"name\":\"g0\",\"writable\":true}}"],
    ["connect", 0, "g0"],
    ["read", 0, 0, 0, 1, 9223372049739677696, False],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
