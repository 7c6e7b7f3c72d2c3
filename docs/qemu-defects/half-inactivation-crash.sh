#!/bin/sh
# blockdev-set-active that cannot inactivate all nodes is refused and leaves some of them inactive: a job that writes one of them ends the daemon with a failed assertion.
# Right instead: a command that is refused leaves every node as it was.
# Seen on 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 512k
qemu-io -f qcow2 -c 'write -z -u 0 64k' mid.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-stream","arguments":{"device":"top","job-id":"j1"}}
{"execute":"blockdev-set-active","arguments":{"active":false}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=mid.qcow2,node-name=mid \
  --blockdev backing=mid,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
[ $? -lt 128 ]
