#!/usr/bin/env python3
# group: rw
#
# a write over a data cluster and a zero cluster next to it first makes both
# zero: a reader beside it sees zeroes, and if it then fails, or the daemon is
# killed, what was written there before is gone.
# Right instead: whether a write is under way, is cut off or fails, each of its
# sectors is as it was or as it was to be.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import os

import iotests
from iotests import qemu_img_create, qemu_io

top = os.path.join(iotests.test_dir, 'top.qcow2')
nbd_sock = os.path.join(iotests.sock_dir, 'nbd.sock')


def nbd(export: str) -> str:
    return f'nbd+unix:///{export}?socket={nbd_sock}'


class TestFailedWriteZeroes(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', top, '1M')
        qemu_io('-f', 'qcow2', '-c', 'write -P 1 0 128k',
            '-c', 'write -z 64k 64k', top)

    def tearDown(self) -> None:
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

    def test_failed_write_zeroes(self) -> None:
        qemu_io('-r', '-f', 'qcow2', '-c', 'read -P 1 0 64k', top)
        self.qsd = iotests.QemuStorageDaemon(
            '--nbd-server', f'addr.type=unix,addr.path={nbd_sock}',
            '--blockdev',
            'driver=qcow2,file.driver=blkdebug,file.image.driver=file,'
            f'file.image.filename={top},file.inject-error.0.event=write_aio,'
            'file.inject-error.0.iotype=write,file.inject-error.0.once=on,'
            'node-name=top',
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        self.qsd.cmd('block-export-add', {'id': 'g0', 'node-name': 'top',
            'type': 'nbd', 'writable': True})
        self.settle()
        qemu_io('-f', 'raw', '-c', 'write -P 0xa0 0 96k', nbd('top'),
            check=False)
        self.settle()
        # What ought to be true:
        result = qemu_io('-r', '-f', 'raw', '-c', 'read -P 1 0 64k',
            nbd('top'), check=False)
        self.assertNotIn('failed', result.stdout)


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
