//! The file of a history, as anybody may write it.
//!
//! It gets a verdict, the same each time. What broke a law broke it where the verdict says, whatever comes behind; and of a
//! run that broke none, no beginning did.

use midstream::history::file::header::Spec;
use sim::judge::{Judged, Verdict, judge};

/// Judges it by its own specification, and by the other.
pub fn check(bytes: &[u8]) {
    for spec in [None, Some(Spec::DataOnly)] {
        let judged = judge(bytes, spec);
        assert!(judged == judge(bytes, spec), "the same history has two verdicts");
        match &judged.verdict {
            Verdict::Broken { line, .. } => {
                let beginning = judge(lines(bytes, *line as usize), spec);
                assert!(
                    beginning.verdict == judged.verdict,
                    "what comes behind a broken law changes the verdict"
                );
            }
            Verdict::Clean => never_breaks_before(bytes, spec, &judged),
            Verdict::Bad(_) | Verdict::Inconclusive { .. } | Verdict::Vacuous => {}
        }
    }
}

fn never_breaks_before(bytes: &[u8], spec: Option<Spec>, whole: &Judged) {
    let half = judge(lines(bytes, whole.lines as usize / 2), spec);
    assert!(
        !matches!(half.verdict, Verdict::Broken { .. }),
        "a law breaks in the first half of a history in which none does"
    );
}

/// The first so many lines.
fn lines(bytes: &[u8], count: usize) -> &[u8] {
    let end = bytes.split_inclusive(|byte| *byte == b'\n').take(count).map(<[u8]>::len).sum();
    &bytes[..end]
}
