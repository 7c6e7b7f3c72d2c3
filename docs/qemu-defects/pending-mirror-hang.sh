#!/bin/sh
# while a mirror or an active commit waits to be finalized, its nodes stay drained: an export whose client has gone does not go, and block-export-del or job-cancel is never answered while the daemon spins.
# Right instead: every command is answered; the export goes when its client has gone.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-commit","arguments":{"auto-finalize":false,"device":"top","job-id":"j0"}}
QMP
sleep 0.5
cat <<'QMP'
{"execute":"job-complete","arguments":{"id":"j0"}}
{"execute":"block-export-add","arguments":{"id":"g0","node-name":"top","type":"nbd","writable":true}}
QMP
sleep 0.5; qemu-io -f raw -c 'write -P 0xa0 0 64k' -c 'sleep 20000' 'nbd+unix:///top?socket=nbd.sock' >/dev/null &
sleep 0.5
sleep 0.5
cat <<'QMP'
{"execute":"job-cancel","arguments":{"id":"j0"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
timeout -k 1 10 qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
[ $? -lt 124 ]
