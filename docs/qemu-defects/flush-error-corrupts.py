#!/usr/bin/env python3
# group: rw
#
# a cluster is written and discarded while flushes of the file fail: the
# refcount goes down in the file and the table still points to the cluster,
# though every request of the guest succeeded.
# Right instead: no refcount goes down before the table that pointed to its
# cluster was written, whether or not a flush succeeds.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import os

import iotests
from iotests import qemu_img, qemu_img_create, qemu_io

top = os.path.join(iotests.test_dir, 'top.qcow2')
nbd_sock = os.path.join(iotests.sock_dir, 'nbd.sock')


def nbd(export: str) -> str:
    return f'nbd+unix:///{export}?socket={nbd_sock}'


class TestFlushErrorCorrupts(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', top, '1M')
        qemu_io('-f', 'qcow2', '-c', 'write -P 1 0 64k',
            '-c', 'write -z 0 64k', top)

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

    def test_flush_error_corrupts(self) -> None:
        self.qsd = iotests.QemuStorageDaemon(
            '--nbd-server', f'addr.type=unix,addr.path={nbd_sock}',
            '--blockdev',
            'discard=unmap,driver=qcow2,file.driver=blkdebug,'
            f'file.image.driver=file,file.image.filename={top},'
            'file.inject-error.0.event=none,'
            'file.inject-error.0.iotype=flush,file.inject-error.0.once=off,'
            'node-name=top',
            qmp=True)
        self.qsd.cmd('block-export-add', {'id': 'g0', 'node-name': 'top',
            'type': 'nbd', 'writable': True})
        self.settle()
        qemu_io('-f', 'raw', '-c', 'write -P 0xa0 0 512',
            '-c', 'discard 0 64k', nbd('top'), check=False)
        self.settle()
        self.qsd.stop()
        # What ought to be true:
        result = qemu_img('check', top, check=False)
        self.assertNotEqual(result.returncode, 2, result.stdout)


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
