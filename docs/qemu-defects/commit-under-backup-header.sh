#!/bin/sh
# a commit whose top stands under the filter of a backup leaves the header of the overlay above as it was: it names the committed image, and who deletes that, as after every commit, loses the overlay.
# Right instead: the header of the overlay names the base.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 512k
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 512k
qemu-img create -q -f qcow2 target.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"blockdev-backup","arguments":{"auto-finalize":false,"device":"mid","job-id":"j0","sync":"full","target":"target"}}
{"execute":"block-commit","arguments":{"device":"top","job-id":"j2","top-node":"mid"}}
{"execute":"block-commit","arguments":{"base":"mid.qcow2","device":"top","job-id":"j2"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev '{"backing":null,"discard":"unmap","driver":"qcow2","file":{"auto-read-only":true,"driver":"file","filename":"base.qcow2"},"node-name":"base","read-only":true}' \
  --blockdev backing=base,discard=unmap,driver=qcow2,file.auto-read-only=on,file.driver=file,file.filename=mid.qcow2,node-name=mid,read-only=on \
  --blockdev backing=mid,discard=unmap,driver=qcow2,file.auto-read-only=on,file.driver=file,file.filename=top.qcow2,node-name=top,read-only=off \
  --blockdev '{"backing":null,"discard":"unmap","driver":"qcow2","file":{"auto-read-only":true,"driver":"file","filename":"target.qcow2"},"node-name":"target","read-only":false}' | tee said.txt
! grep -e "Node '#block[0-9]*' is busy: block device is in use by block job: backup" said.txt
