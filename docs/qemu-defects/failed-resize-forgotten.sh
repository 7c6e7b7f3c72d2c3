#!/bin/sh
# a commit that cannot write the new length of its base leaves the base longer in memory alone; the next commit does not write the length either, and what it committed past the old end is gone when the image is opened again.
# Right instead: the length in memory is the one on disk.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 other.qcow2 1M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 1M
qemu-io -f qcow2 -c 'write -P 2 0 1M' top.qcow2 >/dev/null
qemu-io -r -f qcow2 -c 'read -P 2 512k 64k' top.qcow2 | grep failed && exit 2
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-commit","arguments":{"device":"top","job-id":"j0"}}
QMP
sleep 0.5
cat <<'QMP'
{"execute":"block-commit","arguments":{"device":"top","job-id":"j1"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=base.qcow2,file.inject-error.0.event=none,file.inject-error.0.iotype=write,file.inject-error.0.once=on,node-name=base,read-only=on \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
qemu-io -r -f qcow2 -c 'read -P 2 512k 64k' other.qcow2 >read.txt
! grep 'Pattern verification failed' read.txt
