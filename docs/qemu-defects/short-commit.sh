#!/bin/sh
# a commit of a short layer into a longer base lets base data show past the layer's end.
# Right instead: what lies past the end of a short layer reads as zeroes, before and after.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-io -f qcow2 -c 'write -P 1 0 512k' base.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 256k
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 512k
qemu-io -r -f qcow2 -c 'read -P 0x0 256k 64k' top.qcow2 | grep failed && exit 2
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-commit","arguments":{"device":"top","job-id":"j0","top-node":"mid"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=mid.qcow2,node-name=mid \
  --blockdev backing=mid,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
qemu-io -r -f qcow2 -c 'read -P 0x0 256k 64k' top.qcow2 >read.txt
! grep 'Pattern verification failed' read.txt
