//! Where a sequence's images lie, and what the daemon calls them: files in the scratch folder, or devices of the
//! simulated disk behind NBD. The model knows neither: to it an image is `/n0.qcow2` on a protocol node.

use super::process::Scratch;
use crate::device::{Device, Devices};
use crate::workload::image::Image;
use crate::workload::scenario::Scenario;
use midstream::choice::Choices;
use regex_lite::Regex;
use std::fs;
use std::io;
use std::sync::{Arc, LazyLock, Mutex};

/// The device of a qcow2 image is longer than the file by room for all that a sequence may put there, and so much.
const SPARE_BYTES: u64 = 64 << 10;
/// Devices come in units of so many bytes, as logical volumes do.
const UNIT_BYTES: u64 = 4096;

/// The place of all images.
pub(super) struct ImageStore {
    /// The text before every path on the wire.
    folder: String,
    /// The images by the names that stand in headers.
    placed: Scenario,
    devices: Option<Arc<Devices>>,
}

impl ImageStore {
    /// Puts every image into its place. On devices, requests wait for each other as `orders` decides.
    pub(super) fn set(
        scenario: &Scenario,
        scratch: &Scratch,
        on_disk: bool,
        orders: Option<Arc<Mutex<Choices>>>,
    ) -> io::Result<ImageStore> {
        let mut store =
            ImageStore { folder: scratch.text().to_owned(), placed: scenario.clone(), devices: None };
        for image in &mut store.placed.images {
            image.path = match on_disk {
                false => format!("{}{}", store.folder, image.path),
                true => address(&store.folder, &image.path),
            };
        }
        let files = store.placed.files();
        if !on_disk {
            for (image, bytes) in store.placed.images.iter().zip(files) {
                fs::write(&image.path, bytes)?;
            }
            return Ok(store);
        }
        let devices = scenario.images.iter().zip(files).map(|(image, bytes)| device(image, bytes)).collect();
        store.devices = Some(Arc::new(Devices::serve(&scratch.path().join(SOCKET), devices, orders)?));
        Ok(store)
    }

    /// The devices, if the images lie on any.
    pub(super) fn devices(&self) -> Option<&Arc<Devices>> {
        self.devices.as_ref()
    }

    /// What cannot be done here, by image: a device is as long as it is, and nobody resizes a raw image that fills one.
    pub(super) fn limits(&self) -> Vec<(String, &'static str)> {
        let raw = |image: &Image| self.devices.is_some() && image.format.driver() == "raw";
        let errors = ["Invalid argument", "Operation not supported"];
        let images = self.scenario().images.into_iter().filter(raw);
        images.flat_map(|image| errors.map(|error| (image.path.clone(), error))).collect()
    }

    /// A command as the daemon gets it.
    pub(super) fn wire(&self, text: &str) -> String {
        if self.devices.is_none() {
            return text.replace("\"/", &format!("\"{}/", self.folder));
        }
        let text = FILE_NODE.replace_all(text, |found: &regex_lite::Captures<'_>| {
            let server = format!(r#"{{"type":"unix","path":"{}/{SOCKET}"}}"#, self.folder);
            format!(r#""driver":"nbd","server":{server},"export":"{}""#, &found[1])
        });
        PATH.replace_all(&text, |found: &regex_lite::Captures<'_>| {
            if found[1].starts_with(&self.folder) {
                return found[0].to_owned();
            }
            format!("\"{}\"", address(&self.folder, &found[1]))
        })
        .into_owned()
    }

    /// What the daemon says, with every image by the name that the model knows.
    pub(super) fn plain(&self, line: &str) -> String {
        if self.devices.is_none() {
            return line.replace(&self.folder, "");
        }
        let mut line = line.replace(r#""drv": "nbd""#, r#""drv": "file""#);
        line = line.replace(&format!("?socket={}/{SOCKET}", self.folder), "").replace("nbd+unix:///", "/");
        if line.contains("export\\") {
            let plain = r#"{$1"driver$1": $1"file$1", $1"filename$1": $1"/$2$1"}"#;
            line = OPTIONS.replace_all(&line, plain).into_owned();
        }
        line.replace(&self.folder, "")
    }

    /// The scenario by whose names `recovery` finds the images.
    pub(super) fn scenario(&self) -> Scenario {
        let mut scenario = self.placed.clone();
        if self.devices.is_some() {
            for image in &mut scenario.images {
                image.path = crate::recovery::plain_name(&image.path);
            }
        }
        scenario
    }

    /// What every image holds now; or which one is gone, and why.
    pub(super) fn images(&self) -> Result<Vec<Vec<u8>>, String> {
        if let Some(devices) = &self.devices {
            return Ok(devices.contents());
        }
        let read = |image: &Image| {
            fs::read(&image.path).map_err(|error| self.plain(&format!("{}: {error}", image.path)))
        };
        self.placed.images.iter().map(read).collect()
    }
}

/// The socket of the devices, in the scratch folder.
const SOCKET: &str = "d.sock";

static FILE_NODE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#""driver":"file","filename":"/([^"/]+)""#).expect("a pattern of ours"));
/// A file name of the scenario's, as a whole string.
static PATH: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""(/[^"]+)""#).expect("a pattern of ours"));
/// The options of a node on a device, inside a name that is JSON itself: the escapes before each quote, and the export.
static OPTIONS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"\{[^{}]*?(\\+)"export\\+": \\+"([^"\\]+)\\+"[^{}]*\}"#).expect("a pattern of ours")
});

/// What a header calls an image that lies on a device.
fn address(folder: &str, path: &str) -> String {
    format!("nbd+unix://{path}?socket={folder}/{SOCKET}")
}

/// The device of an image: as long as it will ever need, as a logical volume is made; a raw image fills its own.
fn device(image: &Image, mut bytes: Vec<u8>) -> Device {
    if image.format.driver() == "qcow2" {
        let len = bytes.len() as u64 + 2 * image.size_bytes + 16 * image.format.cluster_bytes() + SPARE_BYTES;
        bytes.resize(len.next_multiple_of(UNIT_BYTES) as usize, 0);
    }
    Device { name: image.path.trim_start_matches('/').to_owned(), bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_on_devices_go_by_their_plain_names_and_back() {
        let scenario = Scenario::chain(&["d.", ".d"]);
        let scratch = Scratch::new().expect("a folder for temporary files");
        let store = ImageStore::set(&scenario, &scratch, true, None).expect("a socket can be made");
        let wire = store.wire(&scenario.setup()[0]);
        assert!(wire.contains(r#""driver":"nbd","server":{"type":"unix","path":""#), "{wire}");
        assert!(wire.contains(r#""export":"n0.qcow2","auto-read-only":true"#), "{wire}");
        let wire = store.wire(r#"{"backing-file":"/n1.qcow2"}"#);
        let address = format!("nbd+unix:///n1.qcow2?socket={}/d.sock", scratch.text());
        assert_eq!(wire, format!(r#"{{"backing-file":"{address}"}}"#));
        assert_eq!(store.plain(&wire), r#"{"backing-file":"/n1.qcow2"}"#);
        let plain = store.plain(&format!(
            r#"{{"file": "json:{{\"driver\": \"qcow2\", \"file\": {{\"server.path\": \"{}/d.sock\", \"driver\": \"nbd\", \"export\": \"n1.qcow2\", \"server.type\": \"unix\"}}}}"}}"#,
            scratch.text()
        ));
        let expected = r#"{"file": "json:{\"driver\": \"qcow2\", \"file\": {\"driver\": \"file\", \"filename\": \"/n1.qcow2\"}}"}"#;
        assert_eq!(plain, expected);
        assert_eq!(store.scenario().images[1].path, "/n1.qcow2");
    }
}
