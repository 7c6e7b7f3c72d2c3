#!/bin/sh
# a blockdev-create of a vmdk image that fails keeps the node that it opened for the image: what stands below it stays in use for ever, and quit ends in an assertion.
# Right instead: a job that fails closes what it has opened.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"blockdev-create","arguments":{"job-id":"x0","options":{"driver":"vmdk","file":{"driver":"blkdebug","image":"base"},"size":0}}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base,read-only=on
[ $? -lt 128 ]
