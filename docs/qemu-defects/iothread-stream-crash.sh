#!/bin/sh
# block-stream of a node that is exported from an iothread ends the daemon with a failed assertion: its filter comes up in the main thread and the node goes there, or does not.
# Right instead: the filter goes to where the node is, or the command is refused.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"object-add","arguments":{"id":"io0","qom-type":"iothread"}}
{"execute":"block-export-add","arguments":{"id":"g0","iothread":"io0","node-name":"top","type":"nbd"}}
{"execute":"block-stream","arguments":{"device":"top","job-id":"j0"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
[ $? -lt 128 ]
