#!/bin/sh
# a commit or a mirror that is to ignore errors, or a stream that cannot read what is allocated, over an error that stays, tries again at once and for ever: it takes a whole core and sends thousands of events a second
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "busy for 8 s: {\"auto-dismiss\":true,\"auto-finalize\":false,\"busy\":true,\"device\":\"j0\",\"io-status\":\"ok\",\"len\":131072,\"offset\":65536,\"paused\":false,\"ready\":true,\"speed\":0,\"status\":\"ready\",\"type\":\"commit\"}"
DEFECT = "hang"
TRIES = 1000
IMAGES = {
    "/n0.qcow2": "eNrt0DEKAjEQBdDJbhTsLC0FG08iWO4hBMHGQnsbT21jEkVYG1th3wvzk4FJM8Nu/4iIPsaWLdOnf736UZfitzqTSx039+213Kuvf+uWswAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAOAfdFYAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAweWl0AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAmKhbjWwPAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAwNu8ZSrVpUXk2pwO54vFAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAwLQ8Ae3pBj4=",
    "/n1.qcow2": "eNrt2jEKwjAUANAEKzg4eITODlI8gZPQTW8guDgpTuLW83kMr+FiaCtYBzdBwnvh5+fnb38LZLuuHyGEUeg0KSYppm0Vw0t/qvpyNux+V6Q43K/zW8rj8/50Wb41j9Xi8woAAAD4idIIAAAAIGdxsAAAAIAMNe2+MggAAADI/v2/iV3e+QEAAAAAAAAAAAAAAAB/6AmyCwyz",
    "/t0.raw": "eNrtwQEBAAAAgJD+r+4ICgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAGoADwAB",
    "/t1.qcow2": "eNoLdPP8zcDAwMyACjjBJCOczwSh2JC5jAzEARYgzmAYBYMYsIwGwUgFjEhwFIw40AAmOaA012iAjIJRMApGwQgBAA7eA3w=",
}
ACTIONS = [
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f0\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n0\",\"file\":\"f0\",\"backing\":null,\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f1\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"f1\",\"backing\":\"n0\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t0.raw\",\"auto-read-only\":true,\"node-name\":\"f2\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"raw\",\"node-name\":\"t0\",\"file\":\"f2\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f3\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"t1\",\"file\":\"f3\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"iothread\",\"id\":\"io0\"}}"],
    ["qmp", "{\"execute\":\"blockdev-backup\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j1\",\"target\":\"t0\",\"sync\":\"top\",\"on-source-error\":\"stop\",\"on-target-error\":\"enospc\",\"auto-dismiss\":false}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"query-named-block-nodes\"}"],
    ["qmp", "{\"execute\":\"blockdev-reopen\",\"arguments\":{\"options\":[{\"driver\":\"qcow2\",\"node-name\":\"n0\",\"file\":\"f0\",\"backing\":null,\"read-only\":true,\"discard\":\"unmap\"}]}}"],
    ["qmp", "{\"execute\":\"x-blockdev-amend\",\"arguments\":{\"job-id\":\"j0\",\"node-name\":\"f0\",\"options\":{\"driver\":\"blkverify\"}}}"],
    ["qmp", "{\"execute\":\"blockdev-del\",\"arguments\":{\"node-name\":\"n0\"}}"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g4\",\"node-name\":\"n1\",\"name\":\"g4\",\"writable\":true,\"iothread\":\"io0\",\"fixed-iothread\":true}}"],
    ["connect", 4, "g4"],
    ["read", 4, 0, 127, 1, 9224497941056585728, False],
    ["qmp", "{\"execute\":\"block_resize\",\"arguments\":{\"node-name\":\"n1\",\"size\":66048}}"],
    ["qmp", "{\"execute\":\"block-commit\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j0\",\"on-error\":\"ignore\",\"auto-finalize\":false}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-commit\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j0\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"query-named-block-nodes\"}"],
    ["qmp", "{\"execute\":\"block-commit\",\"arguments\":{\"device\":\"n0\",\"job-id\":\"j0\",\"on-error\":\"enospc\",\"auto-dismiss\":false}}"],
    ["qmp", "{\"execute\":\"query-named-block-nodes\"}"],
    ["write", 4, 1, 104, 2, 9224497945351553024, False],
    ["settle"],
    ["qmp", "{\"execute\":\"block-job-cancel\",\"arguments\":{\"device\":\"j2\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block_resize\",\"arguments\":{\"node-name\":\"n1\",\"size\":69632}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"query-named-block-nodes\"}"],
    ["qmp", "{\"execute\":\"blockdev-del\",\"arguments\":{\"node-name\":\"spare0\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"query-named-block-nodes\"}"],
    ["qmp", "{\"execute\":\"block-set-write-threshold\",\"arguments\":{\"node-name\":\"n1\",\"write-threshold\":1024}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-stream\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j0\",\"base-node\":\"n0\",\"backing-file\":\"/n0.qcow2\",\"auto-dismiss\":false}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"change-backing-file\",\"arguments\":{\"device\":\"n1\",\"image-node-name\":\"n0\",\"backing-file\":\"/n0.qcow2\"}}"],
    ["qmp", "{\"execute\":\"blockdev-reopen\",\"arguments\":{\"options\":[{\"driver\":\"qcow2\",\"node-name\":\"n0\",\"file\":\"f0\",\"backing\":null,\"read-only\":true,\"discard\":\"unmap\"}]}}"],
    ["settle"],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
