//! Other people's programs: what each is good for here, and how to get it. Nothing in a simulated world needs one.
//!
//! A test that is skipped for want of one says so in the words of [`Program::missing`].

use seam::escape::one_line;
use std::process::{Command, Stdio};

/// A program that may be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Program {
    /// What it is called.
    pub name: &'static str,
    /// Asks it for its version.
    asks: &'static str,
    /// What it enables.
    pub enables: &'static str,
    /// How to get it, on Debian and its like.
    pub install: &'static str,
}

const fn program(
    name: &'static str,
    asks: &'static str,
    enables: &'static str,
    install: &'static str,
) -> Program {
    Program { name, asks, enables, install }
}

/// All that are of use.
pub const ALL: [Program; 10] = [
    program(
        "qemu-storage-daemon",
        "--version",
        "`fuzz --target qemu`, `replay` of live traces, benchmarks beside it",
        "apt-get install qemu-utils qemu-system-common",
    ),
    program(
        "qemu-img",
        "--version",
        "a second reader of every image, `export`, tests against its images",
        "apt-get install qemu-utils",
    ),
    program("qemu-io", "--version", "tests of NBD exports", "apt-get install qemu-utils"),
    program("nbdinfo", "--version", "tests of NBD exports by another client", "apt-get install libnbd-bin"),
    program("nbdcopy", "--version", "tests of NBD exports by another client", "apt-get install libnbd-bin"),
    program("gdb", "--version", "where a live daemon crashed or hangs", "apt-get install gdb"),
    program(
        "python3",
        "--version",
        "scripts of `export`, tests with QEMU's own client library",
        "apt-get install python3-venv",
    ),
    program("chromium", "--version", "tests of the pages of `show --html`", "apt-get install chromium"),
    program(
        "chromedriver",
        "--version",
        "a test of those pages by real keys",
        "apt-get install chromium-driver",
    ),
    program(
        "sbatch",
        "--version",
        "campaigns in parts on Slurm (docs/cluster.md)",
        "apt-get install slurm-wlm",
    ),
];

impl Program {
    /// The program of that name.
    pub fn named(name: &str) -> Option<&'static Program> {
        ALL.iter().find(|program| program.name == name)
    }

    /// Its version in a line, if it is there and starts.
    pub fn version(&self) -> Option<String> {
        let mut command = Command::new(self.name);
        let output = command.arg(self.asks).stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("there, of no known version");
        output.status.success().then(|| one_line(line.trim()).into_owned())
    }

    /// What to say where it is missing: what goes without it, and how to get it.
    pub fn missing(&self) -> String {
        format!("{}, for {}: {}", self.name, self.enables, self.install)
    }
}

/// What a test says that is skipped for want of these programs: in its output, for whoever reads that.
pub fn skipped(names: &[&str]) -> String {
    let words = |name: &&str| Program::named(name).map_or_else(|| (*name).to_owned(), Program::missing);
    format!("skipped: missing {}", names.iter().map(words).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_missing_in_words() {
        let nobody = program("no-such-program-at-all", "--version", "nothing", "nobody has it");
        assert_eq!(nobody.version(), None);
        assert_eq!(nobody.missing(), "no-such-program-at-all, for nothing: nobody has it");
        let gdb = skipped(&["gdb", "something"]);
        assert_eq!(
            gdb,
            "skipped: missing gdb, for where a live daemon crashed or hangs: apt-get install gdb; something"
        );
    }
}
