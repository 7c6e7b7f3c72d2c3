//! What is mutated: images of every form, the daemon's schema, and traces and histories of runs of our own.

use crate::attack::images::valid_images;
use crate::live::schema::schema_of;
use crate::live::target::Target;
use crate::world;
use hostile::schema::Schema;
use midstream::strategy::of_seed;
use midstream::trace::Trace;
use midstream::verdict::Detail;
use std::sync::Arc;

/// Runs whose traces and histories are mutated.
const RUNS: u64 = 12;
/// Longer ones take their time and show no more.
const TEXT_BYTES_MAX: usize = 200 << 10;

/// Sound input of every kind.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) schema: Arc<Schema>,
    pub(super) images: Vec<Vec<u8>>,
    pub(super) traces: Vec<Vec<u8>>,
    pub(super) histories: Vec<Vec<u8>>,
}

impl Material {
    /// All there is, the same for every daemon but for its schema.
    pub(super) fn gather(target: &Target) -> Result<Material, String> {
        let schema = schema_of(target);
        if schema.commands.is_empty() {
            return Err(format!("{} reports no schema", target.binary.display()));
        }
        let (mut traces, mut histories) = (Vec::new(), Vec::new());
        for seed in 1..=RUNS {
            let outcome = world::run(of_seed(seed), Detail::Full);
            traces.push(Trace::of(&outcome, Some(seed)).to_text().into_bytes());
            let mut history = Vec::new();
            outcome.history.write(None, &mut history).expect("a vector takes all");
            histories.push(history);
        }
        for texts in [&mut traces, &mut histories] {
            texts.retain(|text| text.len() < TEXT_BYTES_MAX);
            assert!(!texts.is_empty(), "every one of {RUNS} runs was long");
        }
        Ok(Material { schema, images: valid_images(), traces, histories })
    }

    /// The files that every daemon finds in its folder: those its nodes stand on, and what images name.
    pub(super) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let plain = &self.images[0];
        let mut files: Vec<(String, Vec<u8>)> =
            ["base.qcow2", "top.qcow2", "t.qcow2"].map(|name| (name.to_owned(), plain.clone())).to_vec();
        files.extend(["r.raw", "base", "data"].map(|name| (name.to_owned(), vec![5; 1 << 20])));
        files
    }
}
