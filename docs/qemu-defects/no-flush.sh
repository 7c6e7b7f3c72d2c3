#!/bin/sh
# a stream rewrites the header without a flush of what it copied, so a kill loses data that was durable before; since 10.0.13 a flush follows when the job is dismissed, after the header.
# Right instead: data and metadata are flushed before the header, and the header before completion is reported.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-io -f qcow2 -c 'write -P 1 0 512k' base.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 512k
qemu-io -r -f qcow2 -c 'read -P 0x1 0 64k' top.qcow2 | grep failed && exit 2
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-stream","arguments":{"auto-dismiss":false,"device":"top","job-id":"j0"}}
QMP
sleep 0.5; kill -9 $(cat pid)
sleep 0.5; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --pidfile pid \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
qemu-io -r -f qcow2 -c 'read -P 0x1 0 64k' top.qcow2 >read.txt
! grep 'Pattern verification failed' read.txt
