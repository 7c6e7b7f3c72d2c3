#!/usr/bin/env python3
# group: rw
#
# two backups of one node end one right after the other, or one is cancelled as
# the other ends: the daemon ends with a failed assertion, for the filter that
# is taken out is not drained any more.
# Right instead: both end, and both filters go.
# Seen on 11.1.3. Fails where the defect is.

import os

import iotests
from iotests import qemu_img_create, qemu_io

base = os.path.join(iotests.test_dir, 'base.qcow2')
target = os.path.join(iotests.test_dir, 'target.qcow2')
target2 = os.path.join(iotests.test_dir, 'target2.qcow2')


class TestTwoBackupsCrash(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '16M')
        qemu_io('-f', 'qcow2', '-c', 'write -P 1 0 16M', base)
        qemu_img_create('-f', 'qcow2', target, '16M')
        qemu_img_create('-f', 'qcow2', target2, '16M')

    def tearDown(self) -> None:
        os.remove(base)
        os.remove(target)
        os.remove(target2)

    def settle(self) -> None:
        def is_busy(job) -> bool:
            if job['status'] in ('running', 'ready'):
                return job['busy'] or job['offset'] < job['len']
            return job['status'] in ('created', 'aborting')

        with iotests.Timeout(10, 'a job is at work without end'):
            while any(is_busy(job) and not job['speed']
                      for job in self.qsd.cmd('query-block-jobs')):
                pass

    def test_two_backups_crash(self) -> None:
        self.qsd = iotests.QemuStorageDaemon(
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={base},'
            'node-name=base',
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={target},'
            'node-name=target',
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={target2},'
            'node-name=target2',
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        self.qsd.cmd('blockdev-backup', {'device': 'base', 'job-id': 'j1',
            'speed': 1, 'sync': 'full', 'target': 'target'})
        self.qsd.cmd('blockdev-backup', {'device': 'base', 'job-id': 'j2',
            'sync': 'full', 'target': 'target2'})
        # What ought to be true:
        self.qsd.qmp('block-job-cancel', {'device': 'j1', 'force': True})
        self.settle()
        self.qsd.cmd('query-version')


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
