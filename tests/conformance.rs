//! The recorded behaviour of the real daemon, held against ours.

use sim::conform::corpus;
use std::path::Path;

#[test]
fn the_corpus_holds_every_recorded_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let recordings = corpus::read(&folder).expect("the corpus can be read");
    assert_eq!(recordings.len(), 607);
    for recording in &recordings {
        assert!(
            recording.name().starts_with(recording.category()),
            "{} is in another file",
            recording.name()
        );
        assert_eq!(recording.case["name"], recording.result["name"]);
    }
}
