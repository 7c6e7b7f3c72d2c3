#!/bin/sh
# where nodes change threads, as when an export in an iothread is made or taken back while jobs run, the daemon waits in a drain for what can go on only afterwards: a command is never answered, or the export never goes.
# Right instead: the command is answered, the export goes when its client has gone, and the jobs run on.
# Seen on 10.0.2, 10.0.13. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 -o cluster_size=512 top.qcow2 512k
qemu-io -f qcow2 -c 'write -P 0 430k 43k' top.qcow2 >/dev/null
qemu-img create -q -f qcow2 target.qcow2 512k
qemu-img create -q -f qcow2 target2.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"object-add","arguments":{"id":"io0","qom-type":"iothread"}}
{"execute":"transaction","arguments":{"actions":[{"data":{"auto-finalize":false,"device":"top","job-id":"j1","speed":1,"sync":"top","target":"target"},"type":"blockdev-backup"},{"data":{"auto-finalize":false,"device":"top","job-id":"j6","sync":"top","target":"target2"},"type":"blockdev-backup"}],"properties":{}}}
{"execute":"block-export-add","arguments":{"id":"g0","iothread":"io0","node-name":"top","type":"nbd"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
timeout -k 1 10 qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top \
  --blockdev driver=qcow2,file.driver=file,file.filename=target.qcow2,node-name=target \
  --blockdev driver=qcow2,file.driver=file,file.filename=target2.qcow2,node-name=target2
[ $? -lt 124 ]
