#!/bin/sh
# change-backing-file writes into the header that the backing file has the format of the overlay; where it is a raw file, neither the image nor what stands on it can be opened again.
# Right instead: the header names the format of the backing file.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f raw base.raw 512k
qemu-img create -q -f qcow2 -b base.raw -F raw top.qcow2 512k
qemu-img check -q top.qcow2 || exit 2
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"change-backing-file","arguments":{"backing-file":"base.raw","device":"top","image-node-name":"top"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=raw,file.driver=file,file.filename=base.raw,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
qemu-img check top.qcow2
