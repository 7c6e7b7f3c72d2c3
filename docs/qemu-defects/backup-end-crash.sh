#!/bin/sh
# a backup comes to its end while another drain of the daemon ends, among mirrors, commits and exports in iothreads of the same nodes: the daemon ends with a failed assertion, for the filter that is taken out is not drained any more.
# Right instead: the backup ends, and its filter goes.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f raw base.raw 512k
qemu-img create -q -f qcow2 -b base.raw -F raw top.qcow2 512k
qemu-img create -q -f qcow2 -b top.qcow2 -F qcow2 target.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"object-add","arguments":{"id":"io0","qom-type":"iothread"}}
{"execute":"block-export-add","arguments":{"id":"g2","iothread":"io0","node-name":"top","type":"nbd"}}
{"execute":"transaction","arguments":{"actions":[{"data":{"device":"top","job-id":"j2","sync":"full","target":"target"},"type":"blockdev-backup"},{"data":{"device":"top","job-id":"j5","sync":"full","target":"target2"},"type":"blockdev-backup"}],"properties":{}}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev driver=raw,file.driver=file,file.filename=base.raw,node-name=base \
  --blockdev driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top \
  --blockdev '{"backing":null,"driver":"qcow2","file":{"driver":"file","filename":"target.qcow2"},"node-name":"target"}'
[ $? -lt 128 ]
