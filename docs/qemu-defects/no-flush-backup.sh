#!/bin/sh
# a backup reports its completion without a flush of its target, so a kill of the daemon right after it loses the copy.
# Right instead: the target is flushed before completion is reported: a backup that is complete is there.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-io -f qcow2 -c 'write -P 1 0 512k' base.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 512k
qemu-img create -q -f qcow2 target.qcow2 512k
qemu-io -r -f qcow2 -c 'read -P 0x1 0 64k' top.qcow2 | grep failed && exit 2
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"blockdev-backup","arguments":{"device":"top","job-id":"j2","sync":"full","target":"target"}}
QMP
sleep 0.5; kill -9 $(cat pid)
sleep 0.5; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --pidfile pid \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top \
  --blockdev driver=qcow2,file.driver=file,file.filename=target.qcow2,node-name=target
qemu-io -r -f qcow2 -c 'read -P 0x1 0 64k' target.qcow2 >read.txt
! grep 'Pattern verification failed' read.txt
