//! The images of a recorded case, with what their own clusters hold.

use super::Contents;
use model::{Format, ImageSetup};
use serde_json::Value;
use std::collections::BTreeMap;

use super::reading::SECTOR;
/// Contents past this are not judged, neither here nor by the model.
const BYTES_MAX: u64 = 128 << 20;

/// The images of a case, with what their own clusters hold.
pub fn images(case: &Value, contents: &mut Contents) -> Vec<ImageSetup> {
    let mut views: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut setups = Vec::new();
    for image in case["images"].as_array().unwrap() {
        let file = format!("/run/{}", image["file"].as_str().unwrap());
        let format = image["fmt"].as_str().unwrap_or("qcow2");
        let backing = image["backing"].as_str().map(str::to_owned);
        let below = backing
            .as_deref()
            .map(|name| if name.starts_with('/') { name.to_owned() } else { format!("/run/{name}") });
        let below = below.and_then(|name| views.get(&name).cloned()).unwrap_or_default();
        let size = image["size"].as_u64().unwrap_or(below.len() as u64);
        let size = if format == "qcow2" { size.div_ceil(512) * 512 } else { size };
        let held = size.min(BYTES_MAX) as usize;
        let mut bytes = vec![0; held];
        let shared = below.len().min(held);
        bytes[..shared].copy_from_slice(&below[..shared]);
        let cluster = image["cluster_size"].as_u64().unwrap_or(65536);
        let parts = if image["opts"]["extended_l2"].is_null() { 1 } else { 32 };
        let unit = (cluster / parts) as usize;
        let mut own = vec![format == "raw"; held.div_ceil(SECTOR)];
        for write in image["writes"].as_array().into_iter().flatten() {
            let (from, len) =
                (write["offset"].as_u64().unwrap() as usize, write["len"].as_u64().unwrap() as usize);
            let value = match write["op"].as_str().unwrap_or("write") {
                "write" => write["pattern"].as_u64().unwrap_or(0) as u8,
                _ => 0,
            };
            if from >= held {
                continue;
            }
            let end = (from + len).min(held);
            bytes[from..end].fill(value);
            let covered = from / unit * unit / SECTOR..(end.div_ceil(unit) * unit).min(held).div_ceil(SECTOR);
            own[covered].fill(true);
        }
        let sectors = bytes.chunks(SECTOR).enumerate().filter(|(index, _)| own[*index]);
        let own: Vec<(u64, u64)> =
            sectors.map(|(index, bytes)| (index as u64, contents.value(bytes))).collect();
        setups.push(ImageSetup {
            file: file.clone(),
            format: if format == "raw" { Format::Raw } else { Format::Qcow2 },
            size_bytes: size,
            cluster_bytes: cluster / parts,
            bitmaps: false,
            subclusters: false,
            backing,
            own,
        });
        views.insert(file, bytes);
    }
    setups
}
