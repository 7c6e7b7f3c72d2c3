#!/usr/bin/env python3
# group: rw
#
# a mirror whose granularity is smaller than the clusters of its target ends
# the daemon, if the target has a backing file and its source a long range of
# zeroes.
# Right instead: what is mirrored at a time is aligned to the target's
# clusters, however long it is.
# Seen on 11.1.3. Fails where the defect is.

import json
import os

import iotests
from iotests import qemu_img_create, qemu_io

base = os.path.join(iotests.test_dir, 'base.qcow2')
mid = os.path.join(iotests.test_dir, 'mid.qcow2')
top = os.path.join(iotests.test_dir, 'top.qcow2')
target2 = os.path.join(iotests.test_dir, 'target2.qcow2')


class TestFineMirrorCrash(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '2M')
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2', mid, '2M')
        qemu_img_create('-f', 'qcow2', '-b', mid, '-F', 'qcow2',
            '-o', 'cluster_size=4k', top, '2M')
        qemu_io('-f', 'qcow2', '-c', 'write -P 3 516k 516k', top)
        qemu_img_create('-f', 'qcow2', '-b', top, '-F', 'qcow2', target2, '2M')

    def tearDown(self) -> None:
        os.remove(base)
        os.remove(mid)
        os.remove(top)
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

    def test_fine_mirror_crash(self) -> None:
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
            '--blockdev',
            json.dumps({'backing': None, 'driver': 'qcow2', 'file': {
                'driver': 'file', 'filename': target2},
                'node-name': 'target2'}),
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        # What ought to be true:
        self.qsd.cmd('blockdev-mirror', {'device': 'top', 'granularity': 512,
            'job-id': 'j1', 'sync': 'full', 'target': 'target2'})
        self.settle()
        self.qsd.cmd('query-version')


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
