#!/bin/sh
# whoever reads through the filter of a stream that has nothing to copy (its node has no backing file, or stands on the base already), a guest or another job, kills the daemon.
# Right instead: the read is answered.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 -o cluster_size=4k base.qcow2 1M
qemu-io -f qcow2 -c 'write -P 1 0 4k' base.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 1M
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-stream","arguments":{"auto-finalize":false,"device":"base","job-id":"j0"}}
{"execute":"block-export-add","arguments":{"id":"g0","node-name":"top","type":"nbd","writable":true}}
QMP
sleep 0.5; qemu-io -f raw -c 'write -P 2 60k 4k' 'nbd+unix:///top?socket=nbd.sock' >/dev/null
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
[ $? -lt 128 ]
