#!/bin/sh
# while a stream whose base is directly below its target waits for its end, whoever reads through the target copies what the base has into it, and does not see what is written to the base from then on.
# Right instead: a stream copies what lies between its target and its base, and here nothing does.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-io -f qcow2 -c 'write -P 1 0 512k' base.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 512k
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-stream","arguments":{"auto-finalize":false,"base-node":"base","device":"mid","job-id":"j0"}}
{"execute":"block-export-add","arguments":{"id":"g0","node-name":"top","type":"nbd"}}
QMP
sleep 0.5; qemu-io -r -f raw -c 'read -P 1 0 64k' 'nbd+unix:///top?socket=nbd.sock' >/dev/null
cat <<'QMP'
{"execute":"block-export-del","arguments":{"id":"g0"}}
{"execute":"block-export-add","arguments":{"id":"g1","node-name":"base","type":"nbd","writable":true}}
QMP
sleep 0.5; qemu-io -f raw -c 'write -P 0xa0 0 64k' -c 'read -P 0xa0 0 64k' 'nbd+unix:///base?socket=nbd.sock' >wrote.txt
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=mid.qcow2,node-name=mid \
  --blockdev backing=mid,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
[ -s wrote.txt ] && ! grep failed wrote.txt || exit 2
qemu-io -r -f qcow2 -c 'read -P 0xa0 0 64k' top.qcow2 >read.txt
! grep 'Pattern verification failed' read.txt
