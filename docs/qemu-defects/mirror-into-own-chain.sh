#!/bin/sh
# a mirror whose target, a writable layer, lies below its source is accepted if a backup of that layer, whose filter hid the link between the two, ends while the command waits.
# Right instead: it is refused: the target is the backing of the source.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 4M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 4M
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 4M
qemu-img create -q -f qcow2 target.qcow2 4M
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"blockdev-mirror","arguments":{"device":"top","job-id":"j1","sync":"full","target":"mid"},"id":"before"}
{"execute":"blockdev-backup","arguments":{"device":"mid","job-id":"j0","sync":"full","target":"target"}}
{"execute":"blockdev-mirror","arguments":{"device":"top","job-id":"j1","sync":"full","target":"mid"},"id":"must-fail"}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=mid.qcow2,node-name=mid \
  --blockdev backing=mid,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top \
  --blockdev driver=qcow2,file.driver=file,file.filename=target.qcow2,node-name=target | tee said.txt
grep -q -e '"error".*before' -e 'before.*"error"' said.txt || exit 2
! grep -e '"return".*must-fail' -e 'must-fail.*"return"' said.txt
