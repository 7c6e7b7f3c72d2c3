#!/bin/sh
# a commit or a mirror that is to ignore errors, or a stream that cannot read what is allocated, over an error that stays, tries again at once and for ever: it takes a whole core and sends thousands of events a second
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "busy for 8 s: {\"auto-dismiss\":false,\"auto-finalize\":false,\"busy\":true,\"device\":\"j2\",\"io-status\":\"ok\",\"len\":8192,\"offset\":0,\"paused\":false,\"ready\":false,\"speed\":0,\"status\":\"running\",\"type\":\"commit\"}"
DEFECT = "hang"
TRIES = 40
IMAGES = {
    "/n0.raw": "eNrtxUENAAAIxDD4gH/H4OPaZFkVAABJ5muP/Xr0D1tpA8E=",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAbEnBCuAlSYgRFCsUG5TEhiBAELEGc8qtQ6BbKnKLEcRTLPQA9daBTQHbCMBsFIBYw44SgYAaABTHKMBsSIjn8uKM0DpfmgtACUFoLSImjtAZw0AfvEoLTEaASMglEwCkbBKBgFo2AU0BmwMkBGc0bpkUmzjdIjmuYfpUc0PQpGNgAA+ccV2w==",
    "/t0.qcow2": "eNrt2DEOQEAQBdBZGomGTuk0EqVbOIZ7a0iQ2EorvJdMfv6UU840jGtElJGrj+ivno7ozlrddo+KfeYAAF6mcQIA+JG2TY4AAD+zRPbnBwAAAD5oA4QcA2k=",
    "/t1.qcow2": "eNrt0DEOQGAMBtAKo8ERHMERTBKjWziGe1uIH2EyCnmvab+0Y4eunyMij7syRX3sWYpmX6vL7VGx9hgAAADAy2ovAAAAgD/LzgIAAAB+atpm6xEAAAAAAAAA8GELi9UDng==",
}
ACTIONS = [
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n0.raw\",\"auto-read-only\":true,\"node-name\":\"f0\"}}"],
    ["qmp", "{\"arguments\":{\"driver\":\"blkdebug\",\"image\":\"f0\",\"inject-error\":[{\"errno\":28,\"event\":\"none\",\"once\":false,\"sector\":0}],\"node-name\":\"d0\"},\"execute\":\"blockdev-add\"}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"raw\",\"node-name\":\"n0\",\"file\":\"d0\",\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f1\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"f1\",\"backing\":\"n0\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f2\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"t0\",\"file\":\"f2\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f3\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"t1\",\"file\":\"f3\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"block-commit\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j2\",\"on-error\":\"ignore\",\"speed\":5120,\"auto-finalize\":false,\"auto-dismiss\":false}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"blockdev-backup\",\"arguments\":{\"device\":\"n0\",\"job-id\":\"j2\",\"target\":\"t0\",\"sync\":\"full\",\"speed\":5120}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-stream\",\"arguments\":{\"device\":\"n0\",\"job-id\":\"j2\",\"on-error\":\"enospc\",\"speed\":512,\"filter-node-name\":\"filter2\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-job-complete\",\"arguments\":{\"device\":\"j2\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g0\",\"node-name\":\"n1\",\"name\":\"g0\"}}"],
    ["connect", 0, "g0"],
    ["read", 0, 0, 7, 1, 9223372036854775808, False],
    ["settle"],
    ["read", 0, 0, 14, 1, 9223372041149743104, False],
    ["settle"],
    ["read", 0, 0, 4, 2, 9223372045444710400, False],
    ["settle"],
    ["read", 0, 0, 10, 1, 9223372054034644992, False],
    ["settle"],
    ["read", 0, 0, 1, 3, 9223372058329612288, False],
    ["leave", 0],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g0\",\"mode\":\"hard\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"blockdev-backup\",\"arguments\":{\"device\":\"n0\",\"job-id\":\"j2\",\"target\":\"t0\",\"sync\":\"top\",\"on-source-error\":\"ignore\",\"speed\":5120}}"],
    ["qmp", "{\"execute\":\"block-job-complete\",\"arguments\":{\"device\":\"j1\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-job-set-speed\",\"arguments\":{\"device\":\"j2\",\"speed\":0}}"],
    ["settle"],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
