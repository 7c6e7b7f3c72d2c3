#!/bin/sh
# a cluster is written and discarded while flushes of the file fail: the refcount goes down in the file and the table still points to the cluster, though every request of the guest succeeded.
# Right instead: no refcount goes down before the table that pointed to its cluster was written, whether or not a flush succeeds.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 top.qcow2 1M
qemu-io -f qcow2 -c 'write -P 1 0 64k' -c 'write -z 0 64k' top.qcow2 >/dev/null
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-export-add","arguments":{"id":"g0","node-name":"top","type":"nbd","writable":true}}
QMP
sleep 0.5; qemu-io -f raw -c 'write -P 0xa0 0 512' -c 'discard 0 64k' 'nbd+unix:///top?socket=nbd.sock' >/dev/null
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev discard=unmap,driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=top.qcow2,file.inject-error.0.event=none,file.inject-error.0.iotype=flush,file.inject-error.0.once=off,node-name=top
qemu-img check top.qcow2
[ $? -ne 2 ]
