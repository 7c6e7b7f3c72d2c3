#!/bin/sh
# a stream whose target was read-only leaves it writable when it has ended: its image stays open and locked for writing, and whoever asks may write below its overlays.
# Right instead: what a stream made writable for itself is read-only again when it has ended.
# Seen on 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-export-add","arguments":{"id":"g1","node-name":"base","type":"nbd","writable":true},"id":"before"}
{"execute":"block-stream","arguments":{"device":"base","job-id":"j0"}}
{"execute":"block-export-add","arguments":{"id":"g1","node-name":"base","type":"nbd","writable":true},"id":"must-fail"}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base,read-only=on | tee said.txt
grep -q -e '"error".*before' -e 'before.*"error"' said.txt || exit 2
! grep -e '"return".*must-fail' -e 'must-fail.*"return"' said.txt
