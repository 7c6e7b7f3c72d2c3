#!/bin/sh
# a mirror whose target, a writable layer, lies below its source is accepted if a backup of that layer, whose filter hid the link between the two, ends while the command waits
# Needs qemu-storage-daemon, qemu-img and python3, and driver.py beside it; QSD names another daemon. Ends with 1 if the defect shows.
exec python3 - "$(dirname "$0")/driver.py" <<'END_OF_SCRIPT'
DETAIL = "{\"execute\":\"blockdev-mirror\",\"arguments\":{\"device\":\"n2\",\"job-id\":\"j1\",\"target\":\"n1\",\"sync\":\"full\"}}\nfound    success\nexpected GenericError: Node 'n1' is busy: node is used as backing hd of 'n2'\nn0 <- n1 <- n2\nt0\nt1\njob j1 was started by client 0: blockdev-mirror device:n2,job-id:j1,target:n1,sync:full"
DEFECT = "reply"
TRIES = 1000
UNTRUE = "{\"return\": {}}"
IMAGES = {
    "/n0.qcow2": "eNrt1j1PwlAYQOGLoCIyODiIoqIyODj4gYrA4GCMKCoog4ODgwODgz/B/+1iIG9MWBw6Sc45Te/TmzZ3uGmTDq673ymlfJquNBlzv/O4Kse0MH3378YPj5KZ/dOKboEZsVzmw8xmvK/JuOJGmGG//9VwLayGtbAe7mdc/yA8DBthM+yElxnXvwpvwl7YD4fhS8b1X8O38D0chR/hpy+Uzdjvvyf5nFO0eUVbULTzinZB0S4q2qKiXVK0JUW7rGjLiraiaNcV7YairSraTUW7pWi3FW1N0e4o2l1Fu6do64r2SNEeK9oTRdtQtKeK9kzRnivapqK9ULQtRdtWtB1F21W0t4r2TtH2FO29on1QtI+Ktq9oB4r2SdE+K9qhov0BKjMfaw==",
    "/n1.qcow2": "eNrt1EsvA1EAhuGpS9KIS1F0YWHhUlXViIWFS1FViQWJS2nRhEUX4rISu/4+P8PfsDHqk2AhMgsi3/tOzjwzcyZncTKZvdL2cxAE7cFbzXDEw9HVuosF7+mqW7cdn2e/7/XlxtND5jG08+7i5n7+w+R1Pvf1ERH9anG2gMixWOSDiP55zdY5wUYQ0Q//F0mZkqNyTI7LdMT1szIvF+SiXJKFiOsXZVnuyF25LysR16/JuryUDXklb/mg6E/rCUcb2tqL1vahtQm0th+tHUBrB9HaJFo7hNYOo7UjaG0KrZ1AayfR2im0No3WTqO1GbR2Bq3NorWzaG0OrZ1Da/No7TJau4LWrqK1BbR2Da1dR2s30NoiWruJ1pbQ2i20tozWHqC1h2jtEVpbQWuP0doTtLaK1tbQ2lO09gytPUdr62jtC6zOwus=",
    "/n2.qcow2": "eNoLdPP8zcDAwMwAAQ1AzAHEXGAeIwMMQFk8UC4Lqix+AFKc8ahS6xSQZi1Mzi83QpLMM9RDFxoFo2AU0BVwjAbBKBgFIxEwwuEoGAWjYISBBjApMBoQo2AUjIJRMApGwQgCAAj1CoY=",
    "/t0.qcow2": "eNrt0DEKwCAMheEnOhRx8FRCx96ix/DeXYoSBJfOhfxfIOSRTLna+UiK2uXZw8o2FYtp334bx7cA/NTBCwCPwioAzvTZK48AAMCRFyrLAwU=",
    "/t1.qcow2": "eNrt0DEKwCAMheEnOhRx8FRCx96ix/DeXYoSBJfOhfxfIOSRTLna+UiK2uXZw8o2FYtp334bx7cA/NTBCwCPwioAzvTZK48AAMCRFyrLAwU=",
}
ACTIONS = [
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f0\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n0\",\"file\":\"f0\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f1\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"f1\",\"backing\":\"n0\",\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/n2.qcow2\",\"auto-read-only\":true,\"node-name\":\"f2\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"n2\",\"file\":\"f2\",\"backing\":\"n1\",\"read-only\":true,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t0.qcow2\",\"auto-read-only\":true,\"node-name\":\"f3\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"t0\",\"file\":\"f3\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"filename\":\"/t1.qcow2\",\"auto-read-only\":true,\"node-name\":\"f4\"}}"],
    ["qmp", "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\",\"node-name\":\"t1\",\"file\":\"f4\",\"backing\":null,\"read-only\":false,\"discard\":\"unmap\"}}"],
    ["qmp", "{\"execute\":\"blockdev-backup\",\"arguments\":{\"device\":\"n1\",\"job-id\":\"j0\",\"target\":\"t0\",\"sync\":\"full\"}}"],
    ["qmp", "{\"execute\":\"blockdev-mirror\",\"arguments\":{\"device\":\"n2\",\"job-id\":\"j1\",\"target\":\"n1\",\"sync\":\"full\"}}"],
]
import runpy, sys

runpy.run_path(sys.argv[1], globals())
END_OF_SCRIPT
