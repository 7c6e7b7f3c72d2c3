#!/bin/sh
# a stream whose base stands on the filter of another stream writes the base's name into the header as a json: name that names the filter; with the format beside it nobody can open it, and the image is lost to the next process; or the name does not fit into the header, and the stream fails.
# Right instead: the header names the base so that it can be opened again.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 512k
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 512k
qemu-img check -q top.qcow2 || exit 2
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-stream","arguments":{"auto-finalize":false,"device":"base","filter-node-name":"filter2","job-id":"j2"}}
{"execute":"block-stream","arguments":{"base-node":"mid","device":"top","job-id":"j0"}}
{"execute":"job-finalize","arguments":{"id":"j2"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=mid.qcow2,node-name=mid \
  --blockdev backing=mid,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
qemu-img check top.qcow2
