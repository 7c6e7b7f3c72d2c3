#!/bin/sh
# the flush of what a stream copied fails, and the stream rewrites the header all the same and completes without an error: a kill loses data that was durable before.
# Right instead: a stream that cannot make durable what it copied fails, and the header stays as it was.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-io -f qcow2 -c 'write -P 1 0 512k' base.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 512k
qemu-io -r -f qcow2 -c 'read -P 0x1 0 64k' top.qcow2 | grep failed && exit 2
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-stream","arguments":{"device":"top","job-id":"j2"}}
QMP
sleep 0.5; kill -9 $(cat pid)
sleep 0.5; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --pidfile pid \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=top.qcow2,file.inject-error.0.errno=5,file.inject-error.0.event=flush_to_os,file.inject-error.0.iotype=write,file.inject-error.0.once=on,node-name=top
qemu-io -r -f qcow2 -c 'read -P 0x1 0 64k' top.qcow2 >read.txt
! grep 'Pattern verification failed' read.txt
