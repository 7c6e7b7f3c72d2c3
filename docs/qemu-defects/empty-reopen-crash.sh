#!/bin/sh
# blockdev-reopen with an empty list of nodes ends the daemon with a failed assertion.
# Right instead: a list without nodes reopens nothing, or is refused.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-stream","arguments":{"device":"top","job-id":"j1"}}
{"execute":"blockdev-reopen","arguments":{"options":[]}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
[ $? -lt 128 ]
