#!/bin/sh
# a throttle node that is added over a node which an export has taken into an iothread ends the daemon with a segmentation fault.
# Right instead: the new node is opened in the thread of what it stands on.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 2M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 2M
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"object-add","arguments":{"id":"io0","qom-type":"iothread"}}
{"execute":"block-export-add","arguments":{"fixed-iothread":true,"id":"g1","iothread":"io0","node-name":"top","type":"nbd"}}
{"execute":"blockdev-add","arguments":{"driver":"compress","file":{"driver":"throttle","file":{"driver":"blkdebug","image":"base"},"throttle-group":"base"},"node-name":"target2"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
[ $? -lt 128 ]
