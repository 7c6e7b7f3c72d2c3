#!/bin/sh
# a write over a data cluster and a zero cluster next to it, or over such parts of one cluster with extended L2 entries, first makes both zero: a reader beside it sees zeroes, and if it then fails, or the daemon is killed, what was written there before is gone.
# Right instead: whether a write is under way, is cut off or fails, each of its sectors is as it was or as it was to be.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 top.qcow2 1M
qemu-io -f qcow2 -c 'write -P 1 0 128k' -c 'write -z 64k 64k' top.qcow2 >/dev/null
qemu-io -r -f qcow2 -c 'read -P 1 0 64k' top.qcow2 | grep failed && exit 2
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-export-add","arguments":{"id":"g0","node-name":"top","type":"nbd","writable":true}}
QMP
sleep 0.5; qemu-io -f raw -c 'write -P 0xa0 0 96k' 'nbd+unix:///top?socket=nbd.sock' >/dev/null
sleep 0.5; qemu-io -r -f raw -c 'read -P 1 0 64k' 'nbd+unix:///top?socket=nbd.sock' >read.txt
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=top.qcow2,file.inject-error.0.event=write_aio,file.inject-error.0.iotype=write,file.inject-error.0.once=on,node-name=top
! grep 'Pattern verification failed' read.txt
