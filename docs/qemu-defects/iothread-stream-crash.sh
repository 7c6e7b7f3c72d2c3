#!/bin/sh
# after x-blockdev-set-iothread has forced the file below an image into an iothread, block-stream ends the daemon with a failed assertion.
# Right instead: the command is refused, or the nodes above move with the node.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"object-add","arguments":{"id":"x1","qom-type":"iothread"}}
{"execute":"x-blockdev-set-iothread","arguments":{"iothread":"x1","node-name":"base"}}
{"execute":"block-stream","arguments":{"device":"top"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
[ $? -lt 128 ]
