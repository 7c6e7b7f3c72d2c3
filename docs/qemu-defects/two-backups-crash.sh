#!/bin/sh
# two backups of one node end one right after the other, or one is cancelled as the other ends: the daemon ends with a failed assertion, for the filter that is taken out is not drained any more, or with a segmentation fault, for it is gone.
# Right instead: both end, and both filters go.
# Seen on 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 16M
qemu-io -f qcow2 -c 'write -P 1 0 16M' base.qcow2 >/dev/null
qemu-img create -q -f qcow2 target.qcow2 16M
qemu-img create -q -f qcow2 target2.qcow2 16M
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"blockdev-backup","arguments":{"device":"base","job-id":"j1","speed":1,"sync":"full","target":"target"}}
{"execute":"blockdev-backup","arguments":{"device":"base","job-id":"j2","sync":"full","target":"target2"}}
{"execute":"block-job-cancel","arguments":{"device":"j1","force":true}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev driver=qcow2,file.driver=file,file.filename=target.qcow2,node-name=target \
  --blockdev driver=qcow2,file.driver=file,file.filename=target2.qcow2,node-name=target2
[ $? -lt 128 ]
