#!/bin/sh
# a block-commit that makes its base writable or puts in its filter, or a blockdev-snapshot, waits without end for a backup that works there with a limited speed: the daemon answers nobody.
# Right instead: a backup that is slow waits until the drain is over.
# Seen on 10.0.2. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 1048064
qemu-io -f qcow2 -c 'write -P 1 0 1048064' base.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid1.qcow2 1048064
qemu-img create -q -f qcow2 -b mid1.qcow2 -F qcow2 mid2.qcow2 1M
qemu-img create -q -f qcow2 -b mid2.qcow2 -F qcow2 top.qcow2 1M
qemu-img create -q -f qcow2 target.qcow2 1M
qemu-img create -q -f qcow2 -b top.qcow2 -F qcow2 target2.qcow2 1M
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"transaction","arguments":{"actions":[{"data":{"auto-finalize":false,"device":"mid2","job-id":"j2","speed":1,"sync":"full","target":"target"},"type":"blockdev-backup"},{"data":{"device":"mid2","job-id":"j5","sync":"full","target":"target2"},"type":"blockdev-backup"}],"properties":{}}}
{"execute":"block-commit","arguments":{"device":"top","job-id":"j0","top-node":"mid1"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
timeout -k 1 10 qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base,read-only=on \
  --blockdev driver=qcow2,file.driver=file,file.filename=mid1.qcow2,node-name=mid1 \
  --blockdev backing=mid1,driver=qcow2,file.driver=file,file.filename=mid2.qcow2,node-name=mid2 \
  --blockdev backing=mid2,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top \
  --blockdev driver=qcow2,file.driver=file,file.filename=target.qcow2,node-name=target \
  --blockdev '{"backing":null,"driver":"qcow2","file":{"driver":"file","filename":"target2.qcow2"},"node-name":"target2"}'
[ $? -lt 124 ]
