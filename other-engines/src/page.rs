//! The page: what each engine promises, what breaks, and what holds. Made from the traces that are kept.

use crate::engine::Engine;
use crate::findings::{self, Finding};
use crate::level::Level;
use crate::promises;
use midstream::seam::escape::lines;
use midstream::trace::Trace;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// What comes before the engines.
const HEAD: &str = "\
# Engines that others wrote

Two crates that read and write qcow2 images, unmodified, from crates.io, in our world: a simulated disk, two guests, errors of
the disk, kills and power cuts. Only data is judged ([your-own-block-layer.md](your-own-block-layer.md) has the laws), and
the images by our checker. This page is made by

    cargo run --release --manifest-path other-engines/Cargo.toml -- --write-page

and `cargo test --release --manifest-path other-engines/Cargo.toml` plays every trace that it names. Levels go from images alone,
with one request at a time, to overlays with requests beside each other, each in a world that is well, has errors, kills
or cuts the power; what is shown is the easiest level at which a law was seen to break, and the shortest run that was found there.
At harder levels the same law may break for more reasons: they are not distinguished.

Our own engine goes through the same levels, under the same judge and checker (`--engine ours`), and breaks nothing; the
tests ask it at every level that a finding names. The adapters are a page each: [imago](../other-engines/src/imago_layer.rs), [qcow2-rs](../other-engines/src/qcow2_rs_layer.rs).
Clusters have 4 KiB. An image has one L2 table and one refcount block: with more, their order is that of a hash map with a
random seed in both crates, and runs would not repeat.

*Promised* is said where the crate's documentation promises what breaks, *not promised* where we found no such promise. We may
have overlooked one, or misread the source; whoever knows better, please say so.
";

/// Where the traces are.
pub fn traces() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("traces")
}

/// Where the page is.
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/other-engines.md")
}

/// Writes it.
pub fn write() -> Result<(), String> {
    fs::write(path(), text()?).map_err(|error| error.to_string())
}

/// The page's text.
pub fn text() -> Result<String, String> {
    let mut page = HEAD.to_owned();
    for engine in Engine::OTHERS {
        let mut say = |text: &str| writeln!(page, "{text}").expect("a string takes any text");
        say(&format!("\n## {}\n", engine.name()));
        say(promises::of(engine));
        for finding in findings::of(engine) {
            say(&section(finding)?);
        }
        say(&format!("### What holds\n\n{}", held(engine)));
    }
    Ok(page)
}

/// One finding, with what its trace shows now.
fn section(finding: &Finding) -> Result<String, String> {
    let path = traces().join(finding.name).with_extension("json");
    let trace = Trace::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (level, law) = finding.breaks;
    let failure = match finding.engine.replay(level, &trace) {
        Err(failure) if failure.law.as_deref() == Some(law) => failure,
        Err(failure) => return Err(format!("{} shows something else: {failure}", finding.name)),
        Ok(_) => return Err(format!("{} breaks nothing any more", finding.name)),
    };
    let steps = failure.images.iter().chain(&failure.steps).map(|line| format!("    {}\n", lines(line)));
    let Finding { name, title, promise, why, .. } = finding;
    let detail = lines(&failure.detail);
    let steps: String = steps.collect();
    Ok(format!(
        "### {title}\n\n{promise}. The law `{law}` breaks: {level}.\n\n    {detail}\n\n{steps}\n{why}\n\n\
         Trace: [{name}.json](../other-engines/traces/{name}.json).\n"
    ))
}

/// The levels that no finding reaches.
fn held(engine: Engine) -> String {
    let is_reached = |level: &Level| findings::of(engine).any(|finding| finding.reaches(*level));
    let held: Vec<String> =
        engine.levels().filter(|level| !is_reached(level)).map(|level| format!("- {level}\n")).collect();
    match held.len() {
        0 => "No level is without a finding.\n".to_owned(),
        _ => format!("Nothing was seen to break at these levels:\n\n{}", held.concat()),
    }
}
