#!/bin/sh
# a commit whose top stands under the filter of a backup leaves the header of the overlay above as it was: it names the committed image, and who deletes that, as after every commit, loses the overlay
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "{\"execute\":\"block-commit\",\"arguments\":{\"device\":\"n2\",\"job-id\":\"j2\",\"base\":\"/n1.qcow2\"}}\nfound    GenericError: Node '#block012' is busy: block device is in use by block job: backup\nexpected GenericError: Can't find '/n1.qcow2' in the backing chain\nn0 <- n1\nn0 <- (filter) <- n2\nt1\njob j0 backup pending 65536/8192 bytes\nin reply to client 2: block-commit device:n2,job-id:j2,base:/n1.qcow2"
DEFECT = "reply"
TRIES = 40
UNTRUE = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"Node '#block012' is busy: block device is in use by block job: backup\"}}"
IMAGES = {
    "/n0.qcow2": "eNoLdPP8zcDAwMyACrgglAKMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAk0YDJA==",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuAlSYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9AD11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAAXfEKpA==",
    "/n2.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuAlSYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9QD11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAAcXAKpQ==",
    "/t0.qcow2": "eNoLdPP8zcDAwMyACrgglAKMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAk0YDJA==",
    "/t1.qcow2": "eNoLdPP8zcDAwMyACrgglAKMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAAk0YDJA==",
}
ACTIONS = [
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f0\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n0\",\"file\":\"f0\",\"backing\":null,\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f1\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"f1\",\"backing\":\"n0\",\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n2.qcow2\",\"auto-read-only\":true,\"node-name\":\"f2\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n2\",\"file\":\"f2\",\"backing\":\"n1\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f3\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"t0\",\"file\":\"f3\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f4\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"t1\",\"file\":\"f4\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-backup\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j0\",\"target\":\"t0\",\"sync\":\"full\",\"auto-finalize\":false}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-commit\",\"arguments\":{\"device\":\"n2\",\"job-id\":\"j2\",\"top-node\":\"n1\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-commit\",\"arguments\":{\"device\":\"n2\",\"job-id\":\"j2\",\"base\":\"/n1.qcow2\"}}"],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
