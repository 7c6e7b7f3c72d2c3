#!/bin/sh
# an inactive node that cannot be made active by block-export-add refuses it; asked again, the daemon answers that the export is there, and it is not.
# Right instead: a command that was refused leaves nothing behind, and one that succeeds has done what it says.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 top.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-export-add","arguments":{"id":"g0","node-name":"top","type":"nbd","writable":true},"id":"before"}
{"execute":"block-export-add","arguments":{"id":"g0","node-name":"top","type":"nbd","writable":true},"id":"must-fail"}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev active=off,driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=top.qcow2,file.inject-error.0.event=reftable_load,file.inject-error.0.iotype=read,file.inject-error.0.once=off,file.inject-error.0.state=2,file.set-state.0.event=reftable_load,file.set-state.0.new_state=2,node-name=top | tee said.txt
grep -q -e '"error".*before' -e 'before.*"error"' said.txt || exit 2
! grep -e '"return".*must-fail' -e 'must-fail.*"return"' said.txt
