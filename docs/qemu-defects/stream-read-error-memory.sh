#!/bin/sh
# while a stream runs, a guest's read for which the tables of the target cannot be read gets success and whatever was in the daemon's memory
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "sector 8 of /n1.qcow2: guest 2 expected n1, read garbage\nn0 <- n1 <- (filter)\njob j2 paused 0/8192 bytes"
DEFECT = "sector"
TRIES = 1
SECTOR = 8
EXPECTED = ["n1"]
IMAGES = {
    "/n0.qcow2": "eNoLdPP8zcDAwMyACrgglAKMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAk0YDJA==",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuAlSYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9AD11oFIyCUUBXwDEaBKNgFIxEwIgER8EoGAUjCjSASYHRgBgFo2AU4CgfREYDYhSMgmEIOIGYaZQesTTXKD2iaQDhVBD5",
}
ACTIONS = [
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f0\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n0\",\"file\":\"f0\",\"backing\":null,\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f1\"}}"],
    ["qmp", "{\"arguments\":{\"driver\":\"blkdebug\",\"image\":\"f1\",\"inject-error\":[{\"errno\":5,\"event\":\"l2_load\",\"iotype\":\"read\",\"once\":false}],\"node-name\":\"d1\"},\"execute\":\"blockdev-add\"}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"d1\",\"backing\":\"n0\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g2\",\"node-name\":\"n1\",\"name\":\"g2\",\"writable\":true}}"],
    ["connect", 2, "g2"],
    ["read", 2, 0, 0, 1, 9223934991103164416, False],
    ["qmp", "{\"execute\":\"block-stream\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j2\",\"on-error\":\"stop\"}}"],
    ["settle"],
    ["read", 2, 0, 8, 1, 9223935003988066304, False],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
