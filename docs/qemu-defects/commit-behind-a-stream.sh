#!/bin/sh
# a commit fails at its end with an I/O error that nobody met, while a stream of another overlay onto its top, begun after it, holds its filter.
# Right instead: the stream's hold of the filter does not stand in the way: the commit succeeds, or the stream is refused.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid1.qcow2 512k
qemu-img create -q -f qcow2 -b mid1.qcow2 -F qcow2 mid2.qcow2 512k
qemu-img create -q -f qcow2 -b mid1.qcow2 -F qcow2 top.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-commit","arguments":{"auto-finalize":false,"device":"top","job-id":"j2","top-node":"mid1"}}
{"execute":"block-stream","arguments":{"auto-finalize":false,"base-node":"mid1","device":"mid2","job-id":"j0"}}
{"execute":"block-job-finalize","arguments":{"id":"j2"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev '{"backing":null,"discard":"unmap","driver":"qcow2","file":{"auto-read-only":true,"driver":"file","filename":"base.qcow2"},"node-name":"base","read-only":true}' \
  --blockdev backing=base,discard=unmap,driver=qcow2,file.auto-read-only=on,file.driver=file,file.filename=mid1.qcow2,node-name=mid1,read-only=on \
  --blockdev backing=mid1,discard=unmap,driver=qcow2,file.auto-read-only=on,file.driver=file,file.filename=mid2.qcow2,node-name=mid2,read-only=off \
  --blockdev backing=mid1,discard=unmap,driver=qcow2,file.auto-read-only=on,file.driver=file,file.filename=top.qcow2,node-name=top,read-only=off | tee said.txt
! grep -e 'BLOCK_JOB_ERROR' -e '"error": "' said.txt
