#!/usr/bin/env python3
# group: rw
#
# blockdev-set-active that cannot inactivate all nodes is refused and leaves
# some of them inactive: a job that writes one of them ends the daemon with a
# failed assertion.
# Right instead: a command that is refused leaves every node as it was.
# Seen on . Fails where the defect is.

import os

import iotests
from iotests import qemu_img_create, qemu_io

base = os.path.join(iotests.test_dir, 'base.qcow2')
mid = os.path.join(iotests.test_dir, 'mid.qcow2')
top = os.path.join(iotests.test_dir, 'top.qcow2')


class TestHalfInactivationCrash(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '512k')
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2', mid, '512k')
        qemu_io('-f', 'qcow2', '-c', 'write -z -u 0 64k', mid)
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

    def test_half_inactivation_crash(self) -> None:
        self.qsd = iotests.QemuStorageDaemon(
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
        self.qsd.cmd('block-stream', {'device': 'top', 'job-id': 'j1'})
        # What ought to be true:
        self.qsd.cmd('blockdev-set-active', {'active': False})
        self.settle()
        self.qsd.cmd('query-version')


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
