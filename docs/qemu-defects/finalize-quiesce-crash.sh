#!/bin/sh
# job-finalize of a stream or a backup while another job over the same chain has just ended kills the daemon by an assertion about drained nodes
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "ended with signal 6; it said: qemu-storage-daemon: block.c:3571: bdrv_set_backing_hd_drained: Assertion `bs->backing->bs->quiesce_counter > 0' failed.\nafter {\"execute\":\"job-finalize\",\"arguments\":{\"id\":\"j1\"}}\nn0\nn1 <- n2 <- (filter)\njob j1 pending 0/8192 bytes"
DEFECT = "crash"
TRIES = 1000
IMAGES = {
    "/n0.qcow2": "eNrt2k0OwVAYhtFL/Su6BEuwBCOJGTswtAz7NiFUoiNDSd9zmq9Pboff7CY9H473UkpVuup3tp/z4J1de2y+vv00es61AAAAAH+2tQIAAADos0HnAQAAAHro9nrvLQIAAAB6f/8/tb1YCAAAAJQ+/v5vkmeo0a00uiON7lijO9HoTjW6M43uXKO70OguNbq1Rnel0V1rdDca3Uaj+wCN4StQ",
    "/n1.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuAlSYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9AD11oFIyCUUBXwDEaBKNgFIxEwIgER8EoGAUjCjSASYHRgBgFo2DElwMiowExCkbBCAKggT+mUXrE0iyj9IimAeLaDfk=",
    "/n2.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXBCuAlSYgRFC8UC5LEhiBAFIccajSq1TQJq1MDm/3AhJMs9QD11oFIyCUUBXwDEaBKNgFIxEwAiHo2AUjIIRBhrApMBoQIyCUTAKRsEoGAUjCAAAcXAKpQ==",
}
ACTIONS = [
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f0\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n0\",\"file\":\"f0\",\"backing\":null,\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f1\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"f1\",\"backing\":\"n0\",\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n2.qcow2\",\"auto-read-only\":true,\"node-name\":\"f2\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n2\",\"file\":\"f2\",\"backing\":\"n1\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"block-stream\",\"arguments\":{\"device\":\"n2\",\"job-id\":\"j1\",\"base-node\":\"n1\",\"auto-finalize\":false}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-stream\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j2\",\"speed\":512}}"],
    ["settle"],
    ["qmp", "{\"execute\":\"block-job-set-speed\",\"arguments\":{\"device\":\"j2\",\"speed\":0}}"],
    ["qmp", "{\"execute\":\"job-finalize\",\"arguments\":{\"id\":\"j1\"}}"],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
