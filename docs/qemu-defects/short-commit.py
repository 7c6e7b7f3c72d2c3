#!/usr/bin/env python3
# group: rw
#
# a commit of a short layer into a longer base lets base data show past the
# layer's end.
# Right instead: what lies past the end of a short layer reads as zeroes,
# before and after.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import os

import iotests
from iotests import qemu_img_create, qemu_io

base = os.path.join(iotests.test_dir, 'base.qcow2')
mid1 = os.path.join(iotests.test_dir, 'mid1.qcow2')
mid2 = os.path.join(iotests.test_dir, 'mid2.qcow2')
mid3 = os.path.join(iotests.test_dir, 'mid3.qcow2')
top = os.path.join(iotests.test_dir, 'top.qcow2')
nbd_sock = os.path.join(iotests.sock_dir, 'nbd.sock')


def nbd(export: str) -> str:
    return f'nbd+unix:///{export}?socket={nbd_sock}'


class TestShortCommit(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '512k')
        qemu_io('-f', 'qcow2', '-c', 'write -P 1 0 512k', base)
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2', mid1, '224k')
        qemu_img_create('-f', 'qcow2', '-b', mid1, '-F', 'qcow2', mid2, '512k')
        qemu_img_create('-f', 'qcow2', '-b', mid2, '-F', 'qcow2', mid3, '512k')
        qemu_img_create('-f', 'qcow2', '-b', mid3, '-F', 'qcow2', top, '512k')

    def tearDown(self) -> None:
        os.remove(base)
        os.remove(mid1)
        os.remove(mid2)
        os.remove(mid3)
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

    def test_short_commit(self) -> None:
        qemu_io('-r', '-f', 'qcow2', '-c', 'read -P 0x0 224k 32k', top)
        self.qsd = iotests.QemuStorageDaemon(
            '--nbd-server', f'addr.type=unix,addr.path={nbd_sock}',
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={base},'
            'node-name=base',
            '--blockdev',
            'backing=base,driver=qcow2,file.driver=file,'
            f'file.filename={mid1},node-name=mid1',
            '--blockdev',
            'backing=mid1,driver=qcow2,file.driver=file,'
            f'file.filename={mid2},node-name=mid2',
            '--blockdev',
            'backing=mid2,driver=qcow2,file.driver=file,'
            f'file.filename={mid3},node-name=mid3',
            '--blockdev',
            'backing=mid3,driver=qcow2,file.driver=file,'
            f'file.filename={top},node-name=top',
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        self.qsd.cmd('block-commit', {'device': 'top', 'job-id': 'j2',
            'top-node': 'mid1'})
        result = self.qsd.qmp('job-complete', {'id': 'j2'})
        self.assert_qmp(result, 'error/class', 'GenericError')
        self.qsd.cmd('block-export-add', {'id': 'g1002', 'node-name': 'mid2',
            'type': 'nbd'})
        self.settle()
        # What ought to be true:
        result = qemu_io('-r', '-f', 'raw', '-c', 'read -P 0x0 224k 32k',
            nbd('mid2'), check=False)
        self.assertNotIn('failed', result.stdout)


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
