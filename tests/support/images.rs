//! Chains of images made, described and judged by qemu-img: an implementation that is not ours.

use serde_json::Value;
use std::io::ErrorKind;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Whether qemu-img is there; says so if a test is skipped for it.
pub fn have_qemu_img(test: &str) -> bool {
    let missing = |name| {
        let found = Command::new(name).arg("--version").output();
        found.is_err_and(|e| e.kind() == ErrorKind::NotFound)
    };
    for name in ["qemu-img", "qemu-io"] {
        if missing(name) {
            // Past the capture of a test's output: somebody must see it.
            writeln!(std::io::stderr(), "skipped: {test}: {name} not found")
                .expect("standard error takes it");
            return false;
        }
    }
    true
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().expect("the program was found before")
}

fn succeed(program: &str, arguments: &[&str]) -> Output {
    let output = run(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    output
}

/// A chain of qcow2 images `n0 <- n1 <- ...` in a folder of its own, and a copy of it as it was at first.
#[derive(Debug)]
pub struct Chain {
    folder: tempfile::TempDir,
}

impl Chain {
    /// Makes `len` images of 4 MiB. Each has data of its own, data that an upper one covers in part, and holes.
    pub fn new(len: usize) -> Chain {
        let chain = Chain { folder: tempfile::tempdir().expect("a scratch folder") };
        for i in 0..len {
            chain.create(i);
        }
        let before = chain.folder().join("before");
        std::fs::create_dir(&before).expect("a fresh folder");
        for i in 0..len {
            std::fs::copy(chain.image(i), before.join(name(i))).expect("room for a copy");
        }
        chain
    }

    fn create(&self, i: usize) {
        let image = self.image(i);
        let image = image.to_str().expect("a plain path");
        match i {
            0 => succeed("qemu-img", &["create", "-q", "-f", "qcow2", image, "4M"]),
            _ => {
                let backing = name(i - 1);
                succeed(
                    "qemu-img",
                    &["create", "-q", "-f", "qcow2", "-b", &backing, "-F", "qcow2", image, "4M"],
                )
            }
        };
        // 512 KiB of its own; 96 KiB over the end of the one below; 8 KiB within a cluster; zeroes.
        let pattern = i + 1;
        let writes = [
            format!("write -P {pattern} {}k 512k", i * 512),
            format!("write -P {} {}k 96k", pattern + 16, 3072 + i * 64),
            format!("write -P {} {}k 8k", pattern + 32, 3584 + i * 4),
            format!("write -z {}k 64k", i * 512 + 256),
        ];
        let commands = writes.iter().flat_map(|write| ["-c", write]);
        let arguments: Vec<&str> = ["-f", "qcow2"].into_iter().chain(commands).chain([image]).collect();
        succeed("qemu-io", &arguments);
    }

    /// Where everything lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file of an image.
    pub fn image(&self, i: usize) -> PathBuf {
        self.folder().join(name(i))
    }

    /// Asserts that an image reads as at first, all layers taken together, and that its metadata is in order.
    #[track_caller]
    pub fn assert_unchanged_and_clean(&self, i: usize) {
        let now = self.image(i);
        let now = now.to_str().expect("a plain path");
        let before = self.folder().join("before").join(name(i));
        let compared = run("qemu-img", &["compare", now, before.to_str().expect("a plain path")]);
        assert!(compared.status.success(), "n{i} reads differently: {compared:?}");
        let checked = run("qemu-img", &["check", "-q", "-f", "qcow2", now]);
        assert!(checked.status.success(), "n{i} is damaged: {checked:?}");
    }

    /// The file name of the image below, in full, as the image's own header has it.
    pub fn backing(&self, i: usize) -> Option<PathBuf> {
        let image = self.image(i);
        let output = succeed("qemu-img", &["info", "--output=json", image.to_str().expect("a plain path")]);
        let info: Value = serde_json::from_slice(&output.stdout).expect("qemu-img speaks JSON");
        let format = info.get("backing-filename-format");
        assert!(format.is_none_or(|format| format == "qcow2"), "backing format of n{i}: {info}");
        info.get("full-backing-filename").map(|name| PathBuf::from(name.as_str().expect("a name")))
    }
}

fn name(i: usize) -> String {
    format!("n{i}.qcow2")
}
