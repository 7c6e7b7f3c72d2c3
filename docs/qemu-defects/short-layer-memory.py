#!/usr/bin/env python3
# group: rw
#
# while a stream runs, whoever reads past the end of a layer directly below its
# target, a guest or another job, gets success and whatever was in the daemon's
# memory; a write of part of a cluster makes that lasting.
# Right instead: what lies past the end of a short layer reads as zeroes,
# before, during and after the stream.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import os

import iotests
from iotests import qemu_img_create, qemu_io

base = os.path.join(iotests.test_dir, 'base.qcow2')
mid = os.path.join(iotests.test_dir, 'mid.qcow2')
top = os.path.join(iotests.test_dir, 'top.qcow2')
nbd_sock = os.path.join(iotests.sock_dir, 'nbd.sock')


def nbd(export: str) -> str:
    return f'nbd+unix:///{export}?socket={nbd_sock}'


class TestShortLayerMemory(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '1M')
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2',
            '-o', 'cluster_size=4k', mid, '2M')
        qemu_io('-f', 'qcow2', '-c', 'write -P 2 0 64k',
            '-c', 'write -P 2 1M 4k', mid)
        qemu_img_create('-f', 'qcow2', '-b', mid, '-F', 'qcow2', top, '2M')

    def tearDown(self) -> None:
        os.remove(base)
        os.remove(mid)
        os.remove(top)

    def settle(self) -> None:
        def is_busy(job) -> bool:
            if job['status'] in ('running', 'ready'):
                return job['busy'] or job['offset'] < job['len']
            return job['status'] in ('created', 'aborting')

        with iotests.Timeout(10, 'a job is at work without end'):
            while any(is_busy(job) and not job['speed']
                      for job in self.qsd.cmd('query-block-jobs')):
                pass

    def test_short_layer_memory(self) -> None:
        qemu_io('-r', '-f', 'qcow2', '-c', 'read -P 0 1028k 32k', top)
        self.qsd = iotests.QemuStorageDaemon(
            '--nbd-server', f'addr.type=unix,addr.path={nbd_sock}',
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={base},'
            'node-name=base',
            '--blockdev',
            'backing=base,driver=qcow2,file.driver=file,'
            f'file.filename={mid},node-name=mid',
            '--blockdev',
            f'backing=mid,driver=qcow2,file.driver=file,file.filename={top},'
            'node-name=top',
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        self.qsd.cmd('block-stream', {'auto-finalize': False, 'device': 'mid',
            'job-id': 'j0'})
        self.qsd.cmd('block-export-add', {'id': 'g0', 'node-name': 'top',
            'type': 'nbd', 'writable': True})
        self.settle()
        qemu_io('-f', 'raw', '-c', 'write -P 3 60k 4k',
            '-c', 'write -P 3 1084k 4k', nbd('top'))
        self.settle()
        # What ought to be true:
        result = qemu_io('-r', '-f', 'raw', '-c', 'read -P 0 1028k 32k',
            nbd('top'), check=False)
        self.assertNotIn('failed', result.stdout)


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
