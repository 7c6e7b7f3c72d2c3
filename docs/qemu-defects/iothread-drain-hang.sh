#!/bin/sh
# where nodes change threads, as when an export in an iothread is made or taken back while jobs run, the daemon waits in a drain for what can go on only afterwards: a command is never answered, or the export never goes
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "no answer within 8.0 s\nafter {\"execute\":\"job-finalize\",\"arguments\":{\"id\":\"j6\"}}\nn0 <- n1 <- (filter) <- (filter)\njob j1 backup running 65536/? bytes\njob j6 backup pending 131072/? bytes"
DEFECT = "hang"
TRIES = 1000
IMAGES = {
    "/n0.qcow2": "eNrt0DEKhFAMBcCIFiIWFhYWnmfB0lt4jL33NqJ+xLWyVJwJ5PEgVcbP8IuIPP5V6y73XmxRH2sW1yzHUwA3VXoBvFF2GuA1vutuUrYpu5S9BwEAAADAg81zOwTa",
    "/n1.qcow2": "eNrt3P+nV2cAwPHPTU1LkkkyM8kkSa5kkmRmrkqykkwyqSQzfZO+yVzJTJIkSZIkSZLMTJJMZnIl6U/o3+iXru57pJ/qp1V7vY7H2/M4Pz3ncX45nPUjq18MBoNJgwlbx8fU8fHpq9nUwb9mTuSTpq9uHxq85vmRhWPjmbJv+55DS15b3z28+M0l3juTbcH/1dBHePHWRnvRT3RanV5n1Jn1szqrzq5z6uf1i/plnVvn1Z/rMw8AAAAAAAAAGLzb982v6vy6oC6si+riOlyX1KX167qsLq8r6sr6Tf22fldH6qq6pq6t6+r3dUPdWDfVH+rmuqX+WLfWbXVH3Vl31Z8cEAAAAAAAAAAAAAAAAAAAAAAAGPxX/0faXffW/fVAPVgP16P1WP2ljtbj9UT9tf5WT9ZT9XQ9U8/Wc/V8vVAv1kv1cr1Sr9Zr9Xq9UW/WW/V2vVN/r3/UP+vdeq/erw/qX/Vh/bv+Ux/Vsfq4PqlPHUgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACAD8RLzhRoRA==",
    "/t0.qcow2": "eNrt3DEOgkAQBdABKSwoLCk5At7AisQObmBJ7/EplOBKQmJsCeS9zc5mpvz17vbtfYyIU6yVcz0vffY5mtRevrM07+KPYtpDAAAAABurRQAAAABHlqWVzxUAAAA4rJsIAAAAAAAAAGD3HrG8BPitWnXTv4Cv5PqUHgAAAIT7/wAAAMDG3gNLDLk=",
    "/t1.qcow2": "eNrt0DEKgDAQBMCLSWHpqwRLf+Ez/LeNmiKQzlLIzHEL2+6+bldE5OgtNefWU83ctRTflOePAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA4P8mEwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAwvtQMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAGBg5xvFDgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEDEDZKlAvQ=",
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
    ["qmp", "{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"iothread\",\"id\":\"io0\"}}"],
    ["qmp", "{\"execute\":\"transaction\",\"arguments\":{\"actions\":[{\"type\":\"blockdev-backup\",\"data\":{\"device\":\"n1\",\"job-id\":\"j1\",\"target\":\"t0\",\"sync\":\"top\",\"speed\":512,\"auto-finalize\":false}},{\"type\":\"blockdev-backup\",\"data\":{\"device\":\"n1\",\"job-id\":\"j6\",\"target\":\"t1\",\"sync\":\"top\",\"auto-finalize\":false}}],\"properties\":{\"completion-mode\":\"individual\"}}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-export-add\",\"arguments\":{\"type\":\"nbd\",\"id\":\"g0\",\"node-name\":\"n1\",\"name\":\"g0\",\"writable\":true,\"iothread\":\"io0\",\"fixed-iothread\":true}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"job-finalize\",\"arguments\":{\"id\":\"j6\"}}"],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
