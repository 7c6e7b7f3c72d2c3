//! What a live target says it understands, asked once.

use super::process::{ANSWER_MAX, Process, Scratch};
use super::target::Target;
pub use hostile::schema::{Member, Schema, Type};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The commands of a target and their arguments. A daemon that does not say has none.
pub fn schema_of(target: &Target) -> Arc<Schema> {
    static ASKED: Mutex<BTreeMap<PathBuf, Arc<Schema>>> = Mutex::new(BTreeMap::new());
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    let schema = asked.entry(target.binary.clone());
    Arc::clone(schema.or_insert_with(|| Arc::new(ask(target).unwrap_or_default())))
}

fn ask(target: &Target) -> Option<Schema> {
    let scratch = Scratch::new().ok()?;
    let mut process = Process::start(&target.binary, scratch.path(), &[]).ok()?;
    process.qmp.send(r#"{"execute":"query-qmp-schema"}"#).ok()?;
    let line = process.qmp.line(Some(Instant::now() + ANSWER_MAX)).ok()?;
    let reply: Value = serde_json::from_str(&line).ok()?;
    Some(Schema::read(reply["return"].as_array()?))
}
