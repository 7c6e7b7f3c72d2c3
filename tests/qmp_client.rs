//! The `qemu.qmp` package from PyPI, QEMU's own client library, drives the daemon: a stream, its events, a refusal.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use std::path::Path;
use support::daemon::Daemon;
use support::images::Chain;
use support::tools::{have, output, run, skip};

/// What the client does. It fails loudly if anything is not as expected, and says so when it is done.
const SCRIPT: &str = r#"
import asyncio, sys
from qemu.qmp import QMPClient
from qemu.qmp.qmp_client import ExecuteError

async def main(socket, top, base):
    client = QMPClient('midstream')
    await client.connect(socket)
    file = lambda name: {'driver': 'file', 'filename': name}
    await client.execute('blockdev-add', {'driver': 'qcow2', 'node-name': 'base', 'read-only': True, 'file': file(base)})
    await client.execute('blockdev-add', {'driver': 'qcow2', 'node-name': 'top', 'file': file(top), 'backing': 'base'})
    try:
        await client.execute('block-stream', {'job-id': 's', 'device': 'none'})
        sys.exit('a stream into nothing was not refused')
    except ExecuteError as refused:
        assert str(refused) == "Cannot find device='none' nor node-name='none'", refused
    names = []
    with client.listener() as listener:
        await client.execute('block-stream', {'job-id': 's', 'device': 'top'})
        async for event in listener:
            names.append(event['data'].get('status', event['event']))
            if names[-1] == 'null':
                break
    assert names == ['created', 'running', 'waiting', 'pending', 'BLOCK_JOB_COMPLETED', 'concluded', 'null'], names
    assert await client.execute('query-block-jobs') == []
    await client.execute('quit')
    try:
        await client.disconnect()
    except EOFError:
        pass  # The daemon was faster.
    print('driven')

asyncio.run(main(*sys.argv[1:]))
"#;

/// A Python of its own that has the package. `None`: the machine does not give one.
fn python(folder: &Path) -> Option<String> {
    let home = folder.join("python");
    let made = output("python3", &["-m", "venv", home.to_str().expect("a plain path")]);
    let program = home.join("bin/python3").to_str().expect("a plain path").to_owned();
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=0", "--timeout=10"];
    let installed =
        made.status.success() && output(&program, &[&pip[..], &["qemu.qmp"]].concat()).status.success();
    installed.then_some(program)
}

#[test]
fn qemus_own_client_library_drives_the_daemon() {
    let test = "qemus_own_client_library_drives_the_daemon";
    if !have(&["qemu-img", "qemu-io", "python3"], test) {
        return;
    }
    let chain = Chain::new(2);
    let Some(python) = python(chain.folder()) else {
        return skip(test, "pip cannot install qemu.qmp here");
    };
    let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
    let socket = text(&chain.folder().join("qmp"));
    let chardev = format!("socket,id=m,path={socket},server=on,wait=off");
    let daemon = Daemon::start_with(&["--chardev", &chardev, "--monitor", "chardev=m"]);
    // The library does not try again.
    while !Path::new(&socket).exists() {
        std::thread::yield_now();
    }
    let said = run(&python, &["-c", SCRIPT, &socket, &text(&chain.image(1)), &text(&chain.image(0))]);
    assert_eq!(said.trim(), "driven");
    assert!(daemon.wait().success());
    chain.assert_unchanged_and_clean(1);
    assert_eq!(chain.backing(1), None);
}
