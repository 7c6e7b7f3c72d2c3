//! QEMU's tools as judges, where they are installed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// qemu-img and qemu-io with a scratch folder; `None`, said aloud, where there is no QEMU.
pub fn find() -> Option<Qemu> {
    if Command::new("qemu-img").arg("--version").output().is_err() {
        // Past the capture of a test's output: somebody must see it.
        writeln!(std::io::stderr(), "skipped: no qemu-img on PATH").expect("standard error takes it");
        return None;
    }
    Some(Qemu { folder: tempfile::tempdir().expect("a scratch folder") })
}

/// QEMU's tools.
#[derive(Debug)]
pub struct Qemu {
    folder: tempfile::TempDir,
}

/// What `qemu-img check` counts.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Counts {
    pub verdict: Verdict,
    pub allocated: u64,
    pub compressed: u64,
    pub end: u64,
}

/// What `qemu-img check` says.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub corruptions: u64,
    pub leaks: u64,
}

impl Qemu {
    /// A file in the scratch folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file there.
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a file in the scratch folder");
        path
    }

    /// A file's bytes.
    pub fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("a file in the scratch folder")
    }

    /// Runs qemu-img in the folder.
    pub fn img(&self, arguments: &[&str]) -> Output {
        self.run("qemu-img", arguments)
    }

    /// Runs qemu-img, which must succeed.
    pub fn img_ok(&self, arguments: &[&str]) -> String {
        let output = self.img(arguments);
        assert!(output.status.success(), "qemu-img {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs qemu-io commands on an image.
    pub fn io(&self, name: &str, commands: &[String]) {
        let mut arguments = vec!["-f", "qcow2", "-t", "writeback"];
        commands.iter().for_each(|c| arguments.extend(["-c", c.as_str()]));
        arguments.push(name);
        let output = self.run("qemu-io", &arguments);
        assert!(output.status.success(), "qemu-io {arguments:?}: {output:?}");
    }

    /// Runs qemu-io commands, the last of which ends the process without closing the image.
    pub fn io_aborted(&self, name: &str, commands: &[&str]) {
        let mut arguments = vec!["-f", "qcow2", "-t", "writeback"];
        commands.iter().for_each(|c| arguments.extend(["-c", c]));
        arguments.push(name);
        let output = self.run("qemu-io", &arguments);
        assert!(!output.status.success(), "qemu-io {arguments:?}: {output:?}");
    }

    /// What QEMU says when it does not open an image for writing.
    pub fn open_error(&self, name: &str) -> String {
        let output = self.run("qemu-io", &["-f", "qcow2", "-c", "read 0 512", name]);
        String::from_utf8_lossy(&output.stderr).trim().to_owned()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(program).args(arguments).current_dir(self.folder.path()).output().expect("a program")
    }

    /// What `qemu-img check` finds; `None` if it cannot check.
    pub fn check(&self, name: &str) -> Option<Verdict> {
        let output = self.img(&["check", "-f", "qcow2", "--output=json", name]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        if json["check-errors"].as_u64() != Some(0) {
            return None;
        }
        let number = |key: &str| json[key].as_u64().unwrap_or(0);
        Some(Verdict { corruptions: number("corruptions"), leaks: number("leaks") })
    }

    /// What `qemu-img check` counts; it must be able to.
    pub fn counts(&self, name: &str) -> Counts {
        let verdict = self.check(name).expect("an image that can be checked");
        let output = self.img(&["check", "-f", "qcow2", "--output=json", name]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it answers JSON");
        let number = |key: &str| json[key].as_u64().unwrap_or(0);
        Counts {
            verdict,
            allocated: number("allocated-clusters"),
            compressed: number("compressed-clusters"),
            end: number("image-end-offset"),
        }
    }

    /// The guest's bytes, as QEMU reads them.
    pub fn content(&self, name: &str) -> Vec<u8> {
        self.img_ok(&["convert", "-f", "qcow2", "-O", "raw", name, "content.raw"]);
        self.get("content.raw")
    }

    /// The folder, for relative names.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
