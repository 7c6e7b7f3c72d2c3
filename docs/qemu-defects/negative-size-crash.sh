#!/bin/sh
# an option that is a size and is given as a negative number ends the daemon: the error has nobody who takes it.
# Right instead: the command is refused.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-job-pause","arguments":{}}
{"execute":"blockdev-create","arguments":{"job-id":"x0","options":{"driver":"qcow","file":{"driver":"null-aio","size":-1},"size":64}}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m
[ $? -lt 128 ]
