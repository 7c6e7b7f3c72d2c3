#!/bin/sh
# block-stream of the node of a file that is refused leaves that node read-only for good, whatever its auto-read-only says: jobs that are to write the image in it fail.
# Right instead: a command that is refused has done nothing.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid1.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-job-pause","arguments":{"device":"j0"}}
{"execute":"block-stream","arguments":{"device":"mid1-file"}}
{"execute":"block-stream","arguments":{"auto-finalize":false,"device":"mid1","job-id":"j0","on-error":"enospc"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev '{"backing":null,"discard":"unmap","driver":"qcow2","file":{"auto-read-only":true,"driver":"file","filename":"base.qcow2","node-name":"base-file"},"node-name":"base","read-only":true}' \
  --blockdev backing=base,discard=unmap,driver=qcow2,file.auto-read-only=on,file.driver=file,file.filename=mid1.qcow2,file.node-name=mid1-file,node-name=mid1,read-only=on | tee said.txt
! grep -e 'Block node is read-only' said.txt
