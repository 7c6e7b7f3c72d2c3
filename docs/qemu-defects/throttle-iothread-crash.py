#!/usr/bin/env python3
# group: rw
#
# a throttle node that is added over a node which an export has taken into an
# iothread ends the daemon with a segmentation fault.
# Right instead: the new node is opened in the thread of what it stands on.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import os

import iotests
from iotests import qemu_img_create

base = os.path.join(iotests.test_dir, 'base.qcow2')
top = os.path.join(iotests.test_dir, 'top.qcow2')
nbd_sock = os.path.join(iotests.sock_dir, 'nbd.sock')


class TestThrottleIothreadCrash(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '2M')
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2', top, '2M')

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

    def test_throttle_iothread_crash(self) -> None:
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
        self.qsd.cmd('object-add', {'id': 'io0', 'qom-type': 'iothread'})
        self.qsd.cmd('block-export-add', {'fixed-iothread': True, 'id': 'g1',
            'iothread': 'io0', 'node-name': 'top', 'type': 'nbd'})
        # What ought to be true:
        self.qsd.qmp('blockdev-add', {'driver': 'compress', 'file': {
            'driver': 'throttle', 'file': {'driver': 'blkdebug',
            'image': 'base'}, 'throttle-group': 'base'},
            'node-name': 'target2'})
        self.settle()
        self.qsd.cmd('query-version')


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
