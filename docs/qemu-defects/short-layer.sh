#!/bin/sh
# a stream onto a base ends early at the end of a short layer directly below the target, and base data shows.
# Right instead: what lies past the end of a short layer reads as zeroes, before and after.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 2M
qemu-io -f qcow2 -c 'write -P 1 0 2M' base.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid1.qcow2 2M
qemu-img create -q -f qcow2 -b mid1.qcow2 -F qcow2 mid2.qcow2 1M
qemu-img create -q -f qcow2 -b mid2.qcow2 -F qcow2 top.qcow2 2M
qemu-io -r -f qcow2 -c 'read -P 0x0 1M 64k' top.qcow2 | grep failed && exit 2
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-stream","arguments":{"base-node":"base","device":"top","job-id":"j1"}}
{"execute":"block-export-add","arguments":{"id":"g1003","node-name":"top","type":"nbd"}}
QMP
sleep 0.5; qemu-io -r -f raw -c 'read -P 0x0 1M 64k' 'nbd+unix:///top?socket=nbd.sock' >read.txt
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=mid1.qcow2,node-name=mid1 \
  --blockdev backing=mid1,driver=qcow2,file.driver=file,file.filename=mid2.qcow2,node-name=mid2 \
  --blockdev backing=mid2,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
! grep 'Pattern verification failed' read.txt
