#!/bin/sh
# while a stream runs, whoever reads what the tables of the target would show and they cannot be read, a guest or another job, gets success and whatever was in the daemon's memory: a backup completes with it.
# Right instead: the read fails with the error that the file gave.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 1M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 1M
qemu-io -f qcow2 -c 'write -P 2 0 1M' mid.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 1M
qemu-img create -q -f qcow2 target.qcow2 1M
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-stream","arguments":{"device":"mid","job-id":"j0","on-error":"stop"}}
{"execute":"blockdev-backup","arguments":{"device":"top","job-id":"j1","sync":"full","target":"target"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=mid.qcow2,file.inject-error.0.event=l2_load,file.inject-error.0.iotype=read,file.inject-error.0.once=off,node-name=mid \
  --blockdev backing=mid,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top \
  --blockdev driver=qcow2,file.driver=file,file.filename=target.qcow2,node-name=target | tee said.txt
! grep -e '"offset": 1048576, "speed": 0, "type": "backup"' said.txt
