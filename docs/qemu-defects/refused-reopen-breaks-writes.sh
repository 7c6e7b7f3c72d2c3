#!/bin/sh
# a blockdev-reopen to read-only that is refused leaves an image with a persistent bitmap as if it were read-only: whoever writes it then, a guest or a commit, fails
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "a write of guest 0 failed: error 1\nn0 <- n1\nt0\nt1"
DEFECT = "job error"
TRIES = 1
IMAGES = {
    "/n0.qcow2": "eNoLdPP8zcDAwMyACrggVAOMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGIC08AVGA2IUjIJRMApGwSgYQQAACH4DhA==",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQuAmAOIuSDcBqgwAyOE4oFyWZDE8AJGqOIM5VaNUiAtgaZPAUKJMDyq1DoFZLAWJueXGyEpyDPQQxcaBaNgFFAVcIwGwSgYBSMRMKLAUTAKRsEIApAWvsBoQIyCUTAKRsEoGAUjDkjAxuqYGDkhg3vZqQUlo+EyCkbBKBgFo2AUDE8AAOXgDpY=",
    "/t0.qcow2": "eNoLdPP8zcDAwMyACrggVAOMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGIC08AVGA2IUjIJRMApGwSgYQQAACH4DhA==",
    "/t1.qcow2": "eNoLdPP8zcDAwMyACrggVAOMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGIC08AVGA2IUjIJRMApGwSgYQQAACH4DhA==",
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
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g3\",\"node-name\":\"n1\",\"name\":\"g3\",\"writable\":true}}"],
    ["connect", 3, "g3"],
    ["read", 3, 0, 0, 1, 9224217561296535552, False],
    ["leave", 3],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g3\",\"mode\":\"hard\"}}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g3\",\"node-name\":\"n1\",\"name\":\"g3\",\"writable\":true}}"],
    ["connect", 3, "g3"],
    ["read", 3, 0, 0, 1, 9224216466079875072, False],
    ["qmp", "{\"execute\":\"blockdev-reopen\",\"arguments\":{\"options\":[{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"f1\",\"backing\":\"n0\",\"read-only\":true,\"discard\":\"unmap\"}]}}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g0\",\"node-name\":\"n1\",\"name\":\"g0\",\"writable\":true}}"],
    ["connect", 0, "g0"],
    ["read", 0, 0, 0, 1, 9223372036854775808, False],
    ["write", 0, 1, 0, 1, 9223372058329612288, False],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
