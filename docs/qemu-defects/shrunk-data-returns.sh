#!/bin/sh
# an image that was made shorter within a cluster, and longer again, shows what it held there before.
# Right instead: what a longer image has more than before reads as zeroes.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 32k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 32k
qemu-io -r -f qcow2 -c 'read -P 0x0 24k 512' top.qcow2 | grep failed && exit 2
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-export-add","arguments":{"id":"g0","node-name":"top","type":"nbd","writable":true}}
QMP
sleep 0.5; qemu-io -f raw -c 'write -P 0xa0 0 32k' 'nbd+unix:///top?socket=nbd.sock' >/dev/null
cat <<'QMP'
{"execute":"block-export-del","arguments":{"id":"g0"}}
{"execute":"block-stream","arguments":{"device":"top","job-id":"j0"}}
{"execute":"block-export-add","arguments":{"id":"g1001","node-name":"top","type":"nbd"}}
QMP
sleep 0.5; qemu-io -r -f raw -c 'read -P 0x0 24k 512' 'nbd+unix:///top?socket=nbd.sock' >read.txt
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
! grep 'Pattern verification failed' read.txt
