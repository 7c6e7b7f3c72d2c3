//! Known crashes, hangs and the like: one file, one entry for each, distinguished as fuzzers do it.
//!
//! A failure is compared by how the process ended, what it said (the text of an assertion), the functions on its stack, the
//! command that was in flight or answered last, and how jobs stood. What came before must be explained by the specification,
//! with or without quirks. Nothing here steers the search.

use super::fall::{Fall, Fell, Standing};
use super::target::Baseline;
use model::{Harm, Release};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::sync::LazyLock;

/// One known defect that ends or stops a daemon.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Its short name.
    pub name: String,
    /// The name it has in the list of defects that was known before, if it stands there.
    pub id: Option<String>,
    /// What it does to others.
    #[serde(deserialize_with = "harm")]
    pub harm: Harm,
    /// What is wrong, in a sentence.
    pub what: String,
    /// What is right instead.
    pub right: String,
    /// The function of QEMU that is at fault, if somebody has looked for it.
    pub fault: Option<String>,
    /// Where it was reported, if somebody has looked for that.
    pub reported: Option<String>,
    /// The versions of QEMU that were seen to show it.
    pub versions: Vec<String>,
    /// A short trace of it, by file name in `traces/live/`.
    pub trace: Option<String>,
    /// Its trace shows it at least once in so many times: more than a few, if it depends on timing.
    #[serde(default = "few_tries")]
    pub tries: u32,
    /// How long a campaign searched until it met it.
    pub found_after_seconds: Option<f64>,
    alike: Vec<Alike>,
}

/// What failures of a bucket have in common; what is left out does not matter.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Alike {
    kind: Vec<Fell>,
    /// `signal 11`
    how: Option<String>,
    /// A part of what was said.
    said: Option<String>,
    /// Functions that follow each other on a stack.
    #[serde(default)]
    stack: Vec<String>,
    /// One of these commands came shortly before: asked only where no stack can be read.
    #[serde(default)]
    lately: Vec<String>,
    /// Any of these commands.
    #[serde(default)]
    command: Vec<String>,
    /// An action of any of these types is in the transaction.
    #[serde(default)]
    action: Vec<String>,
    /// A job stands like this.
    job: Option<Job>,
    #[serde(default)]
    connecting: bool,
    #[serde(default)]
    threaded: bool,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Job {
    job_type: Vec<String>,
    #[serde(default)]
    status: Vec<String>,
    #[serde(default)]
    ignores: bool,
    #[serde(default)]
    idle: bool,
}

/// A harm by its word.
fn harm<'de, D: Deserializer<'de>>(reader: D) -> Result<Harm, D::Error> {
    let word = String::deserialize(reader)?;
    let named = Harm::ALL.into_iter().find(|harm| harm.word() == word);
    named.ok_or_else(|| D::Error::custom(format!("no harm is called `{word}`")))
}

/// The tries of a trace about which its entry says nothing.
fn few_tries() -> u32 {
    5
}

static KNOWN: LazyLock<Vec<Bucket>> =
    LazyLock::new(|| read(include_str!("buckets.json")).expect("the file is checked by a test"));

/// Every bucket.
pub fn buckets() -> &'static [Bucket] {
    &KNOWN
}

fn read(text: &str) -> Result<Vec<Bucket>, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

impl Bucket {
    /// The releases of QEMU that were seen to show it.
    pub fn releases(&self) -> impl Iterator<Item = Release> {
        let is_named = |release: &Release| self.versions.iter().any(|version| version == release.name());
        Release::ALL.into_iter().filter(is_named)
    }
}

/// The bucket of a failure, if it is known of such a daemon.
pub fn bucket_of(baseline: Baseline, fall: &Fall) -> Option<&'static Bucket> {
    let is_known = |bucket: &&Bucket| baseline.has(&bucket.name, bucket.releases());
    buckets().iter().filter(is_known).find(|bucket| bucket.alike.iter().any(|alike| alike.fits(fall)))
}

impl Alike {
    fn fits(&self, fall: &Fall) -> bool {
        let is_one_of = |all: &[String], word: &str| all.is_empty() || all.iter().any(|one| one == word);
        let on_stack = |stack: &Vec<String>| {
            stack.windows(self.stack.len().max(1)).any(|functions| functions == self.stack)
        };
        self.kind.contains(&fall.kind)
            && self.how.as_ref().is_none_or(|how| *how == fall.how)
            && self.said.as_ref().is_none_or(|said| fall.said.contains(said.as_str()))
            && (self.stack.is_empty() || fall.stacks.iter().any(on_stack) || self.came_lately(fall))
            && is_one_of(&self.command, &fall.command)
            && (self.action.is_empty() || fall.actions.iter().any(|action| self.action.contains(action)))
            && self.job.as_ref().is_none_or(|job| fall.jobs.iter().any(|standing| job.fits(standing)))
            && (!self.connecting || fall.connecting)
            && (!self.threaded || fall.threaded)
    }
}

impl Alike {
    /// Of a process without symbols only what it was doing can be compared.
    fn came_lately(&self, fall: &Fall) -> bool {
        fall.stacks.is_empty() && fall.lately.iter().any(|command| self.lately.contains(command))
    }
}

impl Job {
    fn fits(&self, standing: &Standing) -> bool {
        let is_one_of = |all: &[String], word: &str| all.is_empty() || all.iter().any(|one| one == word);
        is_one_of(&self.job_type, standing.job_type.word())
            && is_one_of(&self.status, standing.status.word())
            && (!self.ignores || standing.ignores)
            && (!self.idle || standing.idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::command::plan::JOB_TYPES;
    use model::job::STATUSES;

    #[test]
    fn the_file_of_buckets_can_be_read_and_names_each_once() {
        let all = read(include_str!("buckets.json")).expect("a list of buckets");
        for bucket in &all {
            assert!(!bucket.alike.is_empty(), "{}", bucket.name);
            assert_eq!(bucket.releases().count(), bucket.versions.len(), "{}: known releases", bucket.name);
            assert_eq!(all.iter().filter(|other| other.name == bucket.name).count(), 1);
            for job in bucket.alike.iter().filter_map(|alike| alike.job.as_ref()) {
                let is_job_type = |word: &String| JOB_TYPES.iter().any(|job_type| job_type.word() == word);
                let is_status = |word: &String| STATUSES.iter().any(|status| status.word() == word);
                assert!(job.job_type.iter().all(is_job_type), "{}: {job:?}", bucket.name);
                assert!(job.status.iter().all(is_status), "{}: {job:?}", bucket.name);
            }
        }
    }

    #[test]
    fn a_crash_is_recognised_by_its_assertion_and_by_functions_that_follow_each_other() {
        let alike = |text: &str| serde_json::from_str::<Alike>(text).expect("what is alike");
        let mut fall = Fall::new(Fell::Crash, "a.c:1: f: Assertion `x' failed.".to_owned(), "", Vec::new());
        fall.how = "signal 6".to_owned();
        fall.stacks = vec![["a", "b", "c"].map(str::to_owned).to_vec()];
        assert!(alike(r#"{"kind":["crash"],"said":"Assertion `x' failed"}"#).fits(&fall));
        assert!(alike(r#"{"kind":["crash"],"stack":["b","c"]}"#).fits(&fall));
        assert!(!alike(r#"{"kind":["crash"],"stack":["a","c"]}"#).fits(&fall));
        assert!(!alike(r#"{"kind":["crash"],"how":"signal 11"}"#).fits(&fall));
        assert!(!alike(r#"{"kind":["hang"]}"#).fits(&fall));
        assert!(!alike(r#"{"kind":["crash"],"command":["quit"]}"#).fits(&fall));
    }
}
