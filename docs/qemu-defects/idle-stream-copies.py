#!/usr/bin/env python3
# group: rw
#
# while a stream whose base is directly below its target waits for its end,
# whoever reads through the target copies what the base has into it, and does
# not see what is written to the base from then on.
# Right instead: a stream copies what lies between its target and its base, and
# here nothing does.
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


class TestIdleStreamCopies(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '512k')
        qemu_io('-f', 'qcow2', '-c', 'write -P 1 0 512k', base)
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2', mid, '512k')
        qemu_img_create('-f', 'qcow2', '-b', mid, '-F', 'qcow2', top, '512k')

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

    def test_idle_stream_copies(self) -> None:
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
        self.qsd.cmd('block-stream', {'auto-finalize': False,
            'base-node': 'base', 'device': 'mid', 'job-id': 'j0'})
        self.qsd.cmd('block-export-add', {'id': 'g0', 'node-name': 'top',
            'type': 'nbd'})
        self.settle()
        qemu_io('-r', '-f', 'raw', '-c', 'read -P 1 0 64k', nbd('top'))
        self.qsd.cmd('block-export-del', {'id': 'g0'})
        self.qsd.cmd('block-export-add', {'id': 'g1', 'node-name': 'base',
            'type': 'nbd', 'writable': True})
        self.settle()
        qemu_io('-f', 'raw', '-c', 'write -P 0xa0 0 64k',
            '-c', 'read -P 0xa0 0 64k', nbd('base'))
        self.settle()
        self.qsd.stop()
        # What ought to be true:
        result = qemu_io('-r', '-f', 'qcow2', '-c', 'read -P 0xa0 0 64k', top,
            check=False)
        self.assertNotIn('failed', result.stdout)


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
