#!/bin/sh
# what a guest writes through an export put on the source after a mirror or an active commit began goes past the job, and the target ends without it.
# Right instead: every write to the source reaches the target before the job is completed, or the second writer is refused.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 top.qcow2 512k
qemu-img create -q -f qcow2 target.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"blockdev-mirror","arguments":{"device":"top","job-id":"j0","sync":"full","target":"target"}}
{"execute":"block-export-add","arguments":{"id":"g0","node-name":"top","type":"nbd","writable":true}}
QMP
sleep 0.5; qemu-io -f raw -c 'write -P 0xa0 0 32k' -c 'read -P 0xa0 0 32k' 'nbd+unix:///top?socket=nbd.sock' >wrote.txt
cat <<'QMP'
{"execute":"job-complete","arguments":{"id":"j0"}}
{"execute":"block-export-add","arguments":{"id":"g1002","node-name":"target","type":"nbd"}}
QMP
sleep 0.5; qemu-io -r -f raw -c 'read -P 0xa0 0 32k' 'nbd+unix:///target?socket=nbd.sock' >read.txt
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top \
  --blockdev driver=qcow2,file.driver=file,file.filename=target.qcow2,node-name=target
[ -s wrote.txt ] && ! grep failed wrote.txt || exit 2
! grep 'Pattern verification failed' read.txt
