#!/bin/sh
# a header write that fails at the end of a stream leaves the chain in memory changed, and the header on disk as it was.
# Right instead: the graph changes only after the header is written and flushed.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"blockdev-del","arguments":{"node-name":"base"},"id":"before"}
{"execute":"block-stream","arguments":{"device":"top","job-id":"j0"}}
QMP
sleep 0.5
cat <<'QMP'
{"execute":"blockdev-del","arguments":{"node-name":"base"},"id":"must-fail"}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=top.qcow2,file.inject-error.0.event=none,file.inject-error.0.iotype=write,node-name=top | tee said.txt
grep -q -e '"error".*before' -e 'before.*"error"' said.txt || exit 2
! grep -e '"return".*must-fail' -e 'must-fail.*"return"' said.txt
