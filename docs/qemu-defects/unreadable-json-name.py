#!/usr/bin/env python3
# group: rw
#
# a stream whose base stands on the filter of another stream writes the base's
# name into the header as a json: name that names the filter; with the format
# beside it nobody can open it, and the image is lost to the next process; or
# the name does not fit into the header, and the stream fails.
# Right instead: the header names the base so that it can be opened again.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import os

import iotests
from iotests import qemu_img, qemu_img_create

base = os.path.join(iotests.test_dir, 'base.qcow2')
mid = os.path.join(iotests.test_dir, 'mid.qcow2')
top = os.path.join(iotests.test_dir, 'top.qcow2')


class TestUnreadableJsonName(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '512k')
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

    def test_unreadable_json_name(self) -> None:
        qemu_img('check', top)
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
        self.qsd.cmd('block-stream', {'auto-finalize': False, 'device': 'base',
            'filter-node-name': 'filter2', 'job-id': 'j2'})
        self.qsd.cmd('block-stream', {'base-node': 'mid', 'device': 'top',
            'job-id': 'j0'})
        self.qsd.cmd('job-finalize', {'id': 'j2'})
        self.settle()
        self.qsd.stop()
        # What ought to be true:
        result = qemu_img('check', top, check=False)
        self.assertEqual(result.returncode, 0, result.stdout)


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
