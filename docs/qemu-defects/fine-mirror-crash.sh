#!/bin/sh
# a mirror with a granularity of 512 bytes ends the daemon, if its target's header names a backing file and more than 512 KiB of data begin in the middle of a cluster of the target.
# Right instead: what is copied at a time is aligned to the target's clusters, however long it is.
# Seen on 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 2M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 2M
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 -o cluster_size=4k top.qcow2 2M
qemu-io -f qcow2 -c 'write -P 3 516k 516k' top.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b top.qcow2 -F qcow2 target2.qcow2 2M
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"blockdev-mirror","arguments":{"device":"top","granularity":512,"job-id":"j1","sync":"full","target":"target2"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=mid.qcow2,node-name=mid \
  --blockdev backing=mid,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top \
  --blockdev '{"backing":null,"driver":"qcow2","file":{"driver":"file","filename":"target2.qcow2"},"node-name":"target2"}'
[ $? -lt 128 ]
