#!/bin/sh
# a node is sent to another thread (by block-export-add, x-blockdev-set-iothread, or a backup whose target is elsewhere) at the moment in which a job there ends, such as a stream below it: the daemon ends with a segmentation fault or a failed assertion.
# Right instead: the nodes that are to be moved do not change while they are.
# Seen on 10.0.2, 10.0.13. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 32k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 32k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"object-add","arguments":{"id":"io0","qom-type":"iothread"}}
{"execute":"block-stream","arguments":{"device":"top","job-id":"j0"}}
{"execute":"block-export-add","arguments":{"id":"g4","iothread":"io0","node-name":"base","type":"nbd"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,file.node-name=base-file,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=top.qcow2,file.node-name=top-file,node-name=top
[ $? -lt 128 ]
