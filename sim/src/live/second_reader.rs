//! A second reader of images: after some sequences qemu-img checks, describes and converts every qcow2 image, and what
//! it finds must be what our own reader found.
//!
//! Both read the same files after a clean end. Which of the two is wrong nobody knows yet when they differ.

use super::image_store::ImageStore;
use super::process::wait;
use crate::fence;
use crate::recovery::{Recovered, plain_name};
use crate::workload::image::Image;
use midstream::choice::{Choices, Point};
use midstream::content::tags;
use midstream::content::{SECTOR_BYTES, Tag};
use midstream::terminal::complain;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The law that two readers break of which at least one is wrong.
pub const READERS_DIFFER: &str = "two readers of an image differ";
/// The slot of the choice; by default there is no second reader.
pub const SLOT: &str = "live second reader";
/// After one sequence in so many there is a second reader: it starts three processes for every image.
const READ_IN: u32 = 32;
/// Whether the images of this sequence are read twice.
pub(super) fn draw(choices: &mut Choices) -> bool {
    choices.choose(Point::new(SLOT, [0; 3]), READ_IN) == READ_IN - 1
}

/// Whether there is such a reader; if not, it says so once.
pub(super) fn is_there() -> bool {
    static THERE: LazyLock<bool> = LazyLock::new(|| {
        let asked = Command::new("qemu-img").arg("--version").stdout(Stdio::null()).status();
        let there = asked.is_ok_and(|status| status.success());
        if !there {
            complain(format_args!(
                "SKIPPED: qemu-img is not on the PATH, so no image is read by a second reader"
            ));
        }
        there
    });
    *THERE
}

/// What qemu-img finds in one image, and what ours does.
pub(super) struct SecondReader<'a> {
    pub(super) store: &'a ImageStore,
    /// Where it may write.
    pub(super) scratch: &'a Path,
}

impl SecondReader<'_> {
    /// Where the two readers of an image differ, in words.
    pub(super) fn difference(&self, image: &Image, ours: &Recovered) -> Option<String> {
        let found = self.compare(image, ours).err()?;
        Some(format!("{}: {}", ours.file, self.store.plain(&found)))
    }

    fn compare(&self, image: &Image, ours: &Recovered) -> Result<(), String> {
        let path = image.path.as_str();
        let check = self.ask(&["check", "-f", image.format.driver(), "--output=json", path])?;
        let count = |name: &str| check[name].as_u64().unwrap_or(0);
        agree("corruptions", &count("corruptions"), &ours.corruptions)?;
        agree("leaks", &count("leaks"), &ours.leaks)?;
        let values = ours.values.as_ref().map_err(|why| format!("our reader cannot read it: {why}"))?;
        let chain =
            self.ask(&["info", "-f", image.format.driver(), "--output=json", "--backing-chain", path])?;
        let layers = chain.as_array().map_or(&[][..], Vec::as_slice);
        let name =
            |layer: &Value| plain_name(&self.store.plain(layer["filename"].as_str().unwrap_or_default()));
        let theirs: Vec<String> = layers.iter().map(name).collect();
        agree("the chain", &theirs.join(" -> "), &ours.chain.join(" -> "))?;
        let bytes = self.content(image)?;
        let virtual_size =
            layers.first().map_or("none".to_owned(), |layer| layer["virtual-size"].to_string());
        agree("the virtual size and what can be read", &virtual_size, &bytes.len().to_string())?;
        same_content(&tags(&bytes), values)
    }

    /// All that can be read through the image's chain.
    fn content(&self, image: &Image) -> Result<Vec<u8>, String> {
        let raw = self.scratch.join("second.raw");
        let to = raw.display().to_string();
        self.run(&["convert", "-f", image.format.driver(), "-O", "raw", &image.path, &to])?;
        fs::read(&raw).map_err(|error| format!("qemu-img convert left nothing: {error}"))
    }

    fn ask(&self, words: &[&str]) -> Result<Value, String> {
        let text = self.run(words)?;
        serde_json::from_slice(&text)
            .map_err(|_| format!("qemu-img {} said {}", words[0], String::from_utf8_lossy(&text)))
    }

    /// What qemu-img says. Its complaints are its answer if it says nothing else.
    fn run(&self, words: &[&str]) -> Result<Vec<u8>, String> {
        let put = |name: &str| -> Result<(PathBuf, File), String> {
            let path = self.scratch.join(name);
            let file = File::create(&path).map_err(|error| error.to_string())?;
            Ok((path, file))
        };
        let ((out_path, out), (error_path, error)) = (put("second.out")?, put("second.err")?);
        let mut command = Command::new("qemu-img");
        command.args(words).current_dir(self.scratch).stdin(Stdio::null()).stdout(out).stderr(error);
        let started = fence::spawn(&mut command, self.scratch);
        let mut child = started.map_err(|error| format!("qemu-img does not start: {error}"))?;
        let Some(status) = wait(&mut child) else {
            let _ended = child.kill();
            let _reaped = child.wait();
            return Err(format!("qemu-img {} does not end", words[0]));
        };
        let said = fs::read(out_path).map_err(|error| error.to_string())?;
        // A check that finds something ends with another status, and says what.
        if status.success() || words[0] == "check" && !said.is_empty() {
            return Ok(said);
        }
        let complaint = fs::read(error_path).unwrap_or_default();
        Err(format!("qemu-img {} fails: {}", words[0], String::from_utf8_lossy(&complaint).trim()))
    }
}

/// The same, found by both readers.
fn agree<T: PartialEq + std::fmt::Display>(what: &str, theirs: &T, ours: &T) -> Result<(), String> {
    if theirs == ours {
        return Ok(());
    }
    Err(format!("{what}: qemu-img finds {theirs}, our reader {ours}"))
}

fn same_content(theirs: &[Tag], ours: &[Tag]) -> Result<(), String> {
    agree("sectors", &theirs.len(), &ours.len())?;
    let differs = theirs.iter().zip(ours).position(|(theirs, ours)| theirs != ours);
    differs.map_or(Ok(()), |sector| {
        let offset = sector * SECTOR_BYTES;
        agree(&format!("sector {sector}, at byte {offset}"), &theirs[sector], &ours[sector])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::process::Scratch;
    use crate::recovery::read_all;
    use crate::workload::scenario::Scenario;

    #[test]
    fn the_first_sector_that_differs_is_named() {
        assert_eq!(same_content(&[0, 5, 7], &[0, 5, 7]), Ok(()));
        let found = same_content(&[0, 5, 7], &[0, 6, 8]).expect_err("they differ");
        assert_eq!(found, "sector 1, at byte 512: qemu-img finds 5, our reader 6");
        let found = same_content(&[0], &[0, 0]).expect_err("one is longer");
        assert_eq!(found, "sectors: qemu-img finds 1, our reader 2");
    }

    #[test]
    fn both_readers_agree_on_images_as_built_and_not_on_what_was_changed_between() {
        if !is_there() {
            return;
        }
        let scenario = Scenario::chain(&["dd.d", ".d.d", "d..."]);
        let scratch = Scratch::new().expect("a folder for temporary files");
        let store = ImageStore::set(&scenario, &scratch, false, None).expect("files can be written");
        let reader = SecondReader { store: &store, scratch: scratch.path() };
        let placed = store.scenario();
        let mut images = store.images().expect("they were just written");
        let mut all = read_all(&placed, &mut images).expect("it ends");
        for (image, ours) in placed.images.iter().zip(&mut all) {
            ours.chain = ours.chain.iter().map(|file| store.plain(file)).collect();
            assert_eq!(reader.difference(image, ours), None);
        }
        let mut longer_chain = all[2].clone();
        longer_chain.chain.push("/n9.qcow2".to_owned());
        let mut other_value = all[2].clone();
        other_value.values.as_mut().expect("it was read")[3] += 1;
        let mut leak = all[2].clone();
        leak.leaks = 1;
        for (wrong, what) in [(longer_chain, "the chain"), (other_value, "sector 3"), (leak, "leaks")] {
            let found = reader.difference(&placed.images[2], &wrong).expect("it is wrong");
            assert!(found.contains(what), "{found}");
        }
        fs::write(&placed.images[1].path, b"no image").expect("it was written before");
        let found = reader.difference(&placed.images[2], &all[2]).expect("its backing file is gone");
        assert!(found.contains("qemu-img"), "{found}");
    }
}
