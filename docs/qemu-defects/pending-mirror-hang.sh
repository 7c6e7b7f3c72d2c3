#!/bin/sh
# while a mirror or an active commit waits to be finalized, its nodes stay drained: an export whose client has gone does not go, and block-export-del or job-cancel is never answered while the daemon spins
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "no answer within 0.8 s\nafter {\"execute\":\"job-cancel\",\"arguments\":{\"id\":\"j0\"}}\nt0\nt1\nn0 <- n1 <- (filter)\njob j0 active commit aborting 9728/? bytes"
DEFECT = "hang"
TRIES = 40
IMAGES = {
    "/n0.qcow2": "eNrt2L0KgzAYRuFEOog4dHDwJxWH3oZ0Exy9IfG+XQrmKyh0FZH3PEIOcZIkOGQaxtU5l7ijLGb+zX1MbtPH7h2Ae0tZAkCR//MAkLBs45OFAHDS/6WwltZw8fd01jcbBGmVXeRRzdZUug2VbqDSfVHptlS6PZUutH3sHFDNQtsXjkpQZg==",
    "/n1.qcow2": "eNrt17FtwkAUgOFzIFIAhxCxQKoUFAgxAVUkOtggUppUECqUjvkyBmvQcMIukBuqFPh9n/X86+66kxuvP5anlFInVQ55nvKU1fK93k5FlVm9HF3t3dTN8338nfzlPu6+tvv51eFmNm1uAQAAAP/izRUAAABAmxWNBwAAAGidw+W9cBEAAADQ+v//VVH1s17/uBgAAAAAAAAAuCO9PA8atn0N3YGGbqmh+6yhO9TQfdHQHWnovmroEtu4/g40ZgEAiOUMM8U0yA==",
    "/t0.qcow2": "eNrt0D0OQAAMBtAKo8ERTGZHMEmMbuEY7m0h/sJkFPJe035px/ZtN0VEGnf5FtWxJ1vU+1pcbo+ypYcAAAAAXlZ6AQAAAPxZchYAAADwU+M6G48AAAAAAAAAgA+bAWs/A6Q=",
    "/t1.qcow2": "eNoLdPP8zcDAwMyACrgglBqMzwiheKBcFiQxggCkOINhFIyCUTBIAcdoEIyCUTASASMcjoJRMApGGGgAkwKjATEKRsEoGAWjYBSMIAAACqEDKg==",
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
    ["qmp", "{\"execute\":\"block-commit\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j0\",\"base-node\":\"n0\",\"on-error\":\"stop\",\"auto-finalize\":false}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g2\",\"node-name\":\"n1\",\"name\":\"g2\"}}"],
    ["connect", 2, "g2"],
    ["read", 2, 0, 2, 2, 9223936107794661376, False],
    ["leave", 2],
    ["qmp", "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"g2\",\"mode\":\"hard\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-job-set-speed\",\"arguments\":{\"device\":\"j1\",\"speed\":512}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"job-complete\",\"arguments\":{\"id\":\"j0\"}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g0\",\"node-name\":\"n1\",\"name\":\"g0\",\"writable\":true}}"],
    ["connect", 0, "g0"],
    ["write", 0, 1, 15, 4, 9223372036854775808, False],
    ["write zeroes", 0, 6, 17, 2, 9223372041149743104, False],
    ["write", 0, 1, 18, 1, 9223372045444710400, False],
    ["qmp", "{\"execute\":\"job-cancel\",\"arguments\":{\"id\":\"j0\"}}"],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
