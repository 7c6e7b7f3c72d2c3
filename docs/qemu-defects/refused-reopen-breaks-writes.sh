#!/bin/sh
# a blockdev-reopen to read-only that is refused leaves an image with a persistent bitmap as if it were read-only: whoever writes it then, a guest or a commit, fails.
# Right instead: a refused reopen changes nothing.
# Seen on 10.0.2, 10.0.13. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid1.qcow2 512k
qemu-io -f qcow2 -c 'write -P 2 128k 64k' -c 'write -z -u 192k 64k' mid1.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b mid1.qcow2 -F qcow2 mid2.qcow2 512k
qemu-img create -q -f qcow2 -b mid2.qcow2 -F qcow2 top.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-dirty-bitmap-add","arguments":{"name":"b0","node":"base","persistent":true}}
{"execute":"block-commit","arguments":{"device":"top","job-id":"j2","speed":1,"top-node":"mid2"}}
{"execute":"blockdev-reopen","arguments":{"options":[{"backing":null,"discard":"unmap","driver":"qcow2","file":"base-file","node-name":"base","read-only":true}]}}
{"execute":"block-job-set-speed","arguments":{"device":"j2","speed":0}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev auto-read-only=on,driver=file,filename=base.qcow2,node-name=base-file \
  --blockdev '{"backing":null,"discard":"unmap","driver":"qcow2","file":"base-file","node-name":"base","read-only":true}' \
  --blockdev backing=base,discard=unmap,driver=qcow2,file.auto-read-only=on,file.driver=file,file.filename=mid1.qcow2,node-name=mid1,read-only=on \
  --blockdev backing=mid1,discard=unmap,driver=qcow2,file.auto-read-only=on,file.driver=file,file.filename=mid2.qcow2,node-name=mid2,read-only=on \
  --blockdev backing=mid2,discard=unmap,driver=qcow2,file.auto-read-only=on,file.driver=file,file.filename=top.qcow2,node-name=top,read-only=off | tee said.txt
! grep -e 'BLOCK_JOB_ERROR' -e '"error": "' said.txt
