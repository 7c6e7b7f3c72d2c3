#!/usr/bin/env python3
# group: rw
#
# what a guest writes through an export put on the source after a mirror or an
# active commit began goes past the job, and the target ends without it.
# Right instead: every write to the source reaches the target before the job is
# completed, or the second writer is refused.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import os

import iotests
from iotests import qemu_img_create, qemu_io

top = os.path.join(iotests.test_dir, 'top.qcow2')
target = os.path.join(iotests.test_dir, 'target.qcow2')
nbd_sock = os.path.join(iotests.sock_dir, 'nbd.sock')


def nbd(export: str) -> str:
    return f'nbd+unix:///{export}?socket={nbd_sock}'


class TestMirrorBypassed(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', top, '512k')
        qemu_img_create('-f', 'qcow2', target, '512k')

    def tearDown(self) -> None:
        os.remove(top)
        os.remove(target)

    def settle(self) -> None:
        def is_busy(job) -> bool:
            if job['status'] in ('running', 'ready'):
                return job['busy'] or job['offset'] < job['len']
            return job['status'] in ('created', 'aborting')

        with iotests.Timeout(10, 'a job is at work without end'):
            while any(is_busy(job) and not job['speed']
                      for job in self.qsd.cmd('query-block-jobs')):
                pass

    def test_mirror_bypassed(self) -> None:
        self.qsd = iotests.QemuStorageDaemon(
            '--nbd-server', f'addr.type=unix,addr.path={nbd_sock}',
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={top},'
            'node-name=top',
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={target},'
            'node-name=target',
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        self.qsd.cmd('blockdev-mirror', {'device': 'top', 'job-id': 'j0',
            'sync': 'full', 'target': 'target'})
        self.qsd.cmd('block-export-add', {'id': 'g0', 'node-name': 'top',
            'type': 'nbd', 'writable': True})
        self.settle()
        qemu_io('-f', 'raw', '-c', 'write -P 0xa0 0 32k',
            '-c', 'read -P 0xa0 0 32k', nbd('top'))
        self.qsd.cmd('job-complete', {'id': 'j0'})
        self.qsd.cmd('block-export-add', {'id': 'g1002', 'node-name': 'target',
            'type': 'nbd'})
        self.settle()
        # What ought to be true:
        result = qemu_io('-r', '-f', 'raw', '-c', 'read -P 0xa0 0 32k',
            nbd('target'), check=False)
        self.assertNotIn('failed', result.stdout)


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
