#!/bin/sh
# blockdev-reopen of an overlay to stand on the top of a commit, past the commit's filter, kills the daemon, or succeeds if an export or another overlay keeps the filter.
# Right instead: the reopen is refused: the link to the filter is frozen while the job runs.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid1.qcow2 512k
qemu-img create -q -f qcow2 -b mid1.qcow2 -F qcow2 mid2.qcow2 512k
qemu-io -f qcow2 -c 'write -P 3 320k 64k' mid2.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b mid2.qcow2 -F qcow2 top.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-commit","arguments":{"device":"top","filter-node-name":"filter1","job-id":"j1","top-node":"mid2"}}
{"execute":"blockdev-reopen","arguments":{"options":[{"backing":"mid2","discard":"unmap","driver":"qcow2","file":"top-file","node-name":"top","read-only":false}]}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=mid1.qcow2,node-name=mid1 \
  --blockdev backing=mid1,driver=qcow2,file.driver=file,file.filename=mid2.qcow2,node-name=mid2 \
  --blockdev driver=file,filename=top.qcow2,node-name=top-file \
  --blockdev backing=mid2,driver=qcow2,file=top-file,node-name=top
[ $? -lt 128 ]
