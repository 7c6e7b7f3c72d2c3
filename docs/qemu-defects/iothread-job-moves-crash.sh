#!/bin/sh
# an export in an iothread is taken back while a mirror or an active commit of its node comes to its end: the nodes go to the main thread while the job is not paused, and a failed assertion ends the daemon
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "ended with signal 6; it said: qemu-storage-daemon: job.c:379: job_set_aio_context: Assertion `job->paused || job_is_completed_locked(job)' failed.\nafter {\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1\",\"mode\":\"hard\"}}\nt0\nt1\nn0 <- n1 <- (filter)\njob j0 active commit ready 0/? bytes"
DEFECT = "crash"
TRIES = 1000
IMAGES = {
    "/n0.raw": "eNrtwQEBAAAAgJD+r+4ICgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAYgAAAAQ==",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAbEXAguGDBCKB4olwVJjCAAKc54VKl1CmRPUWI5imSegR660CgYBaOAroBjNAhGwSgYiYARDkfBKBgFIwxAWvgCowExCkbBKBgFo2AUjCAAANCrCbw=",
    "/t0.qcow2": "eNoLdPP8zcDAwMyACrggVAOMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGIC08AVGA2IUjIJRMApGwSgYQQAACH4DhA==",
    "/t1.qcow2": "eNoLdPP8zcDAwMyACrggVAOMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGIC08AVGA2IUjIJRMApGwSgYQQAACH4DhA==",
}
ACTIONS = [
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n0.raw\",\"auto-read-only\":true,\"node-name\":\"f0\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"raw\",\"node-name\":\"n0\",\"file\":\"f0\",\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f1\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"f1\",\"backing\":\"n0\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f2\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"t0\",\"file\":\"f2\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f3\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"t1\",\"file\":\"f3\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"iothread\",\"id\":\"io0\"}}"],
    ["qmp", "{\"execute\":\"block-commit\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j0\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1\",\"node-name\":\"n1\",\"name\":\"g1\",\"writable\":true,\"iothread\":\"io0\",\"fixed-iothread\":true}}"],
    ["connect", 1, "g1"],
    ["read", 1, 0, 0, 1, 9223654628522983424, False],
    ["leave", 1],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1\",\"mode\":\"hard\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g1\",\"node-name\":\"n1\",\"name\":\"g1\",\"writable\":true,\"iothread\":\"io0\",\"fixed-iothread\":true}}"],
    ["connect", 1, "g1"],
    ["read", 1, 0, 0, 1, 9223653511831486464, False],
    ["settle"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g4\",\"node-name\":\"n1\",\"name\":\"g4\",\"writable\":true,\"iothread\":\"io0\",\"fixed-iothread\":true}}"],
    ["connect", 4, "g4"],
    ["read", 4, 0, 0, 1, 9224497953941487616, False],
    ["leave", 4],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g4\",\"mode\":\"hard\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-job-complete\",\"arguments\":{\"device\":\"j0\"}}"],
    ["leave", 1],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g1\",\"mode\":\"hard\"}}"],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
