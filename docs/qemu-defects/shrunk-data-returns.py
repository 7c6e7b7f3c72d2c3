#!/usr/bin/env python3
# group: rw
#
# an image that was made shorter within a cluster, and longer again, shows what
# it held there before.
# Right instead: what a longer image has more than before reads as zeroes.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import os

import iotests
from iotests import qemu_img_create, qemu_io

base = os.path.join(iotests.test_dir, 'base.qcow2')
top = os.path.join(iotests.test_dir, 'top.qcow2')
nbd_sock = os.path.join(iotests.sock_dir, 'nbd.sock')


def nbd(export: str) -> str:
    return f'nbd+unix:///{export}?socket={nbd_sock}'


class TestShrunkDataReturns(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '32k')
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2', top, '32k')

    def tearDown(self) -> None:
        os.remove(base)
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

    def test_shrunk_data_returns(self) -> None:
        qemu_io('-r', '-f', 'qcow2', '-c', 'read -P 0x0 24k 512', top)
        self.qsd = iotests.QemuStorageDaemon(
            '--nbd-server', f'addr.type=unix,addr.path={nbd_sock}',
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={base},'
            'node-name=base',
            '--blockdev',
            'backing=base,driver=qcow2,file.driver=file,'
            f'file.filename={top},node-name=top',
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        self.qsd.cmd('block-export-add', {'id': 'g0', 'node-name': 'top',
            'type': 'nbd', 'writable': True})
        self.settle()
        qemu_io('-f', 'raw', '-c', 'write -P 0xa0 0 32k', nbd('top'))
        self.qsd.cmd('block-export-del', {'id': 'g0'})
        self.qsd.cmd('block-stream', {'device': 'top', 'job-id': 'j0'})
        self.qsd.cmd('block-export-add', {'id': 'g1001', 'node-name': 'top',
            'type': 'nbd'})
        self.settle()
        # What ought to be true:
        result = qemu_io('-r', '-f', 'raw', '-c', 'read -P 0x0 24k 512',
            nbd('top'), check=False)
        self.assertNotIn('failed', result.stdout)


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
