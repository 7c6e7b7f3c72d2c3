//! The recorded corpus of the real daemon, played through the model: it must accept every case but those that are named,
//! and of these it must say what is wrong.

mod recorded;

use recorded::{Contents, Run, corpus, images, seen};

#[test]
fn probe() {
    let filter = std::env::var("CASE").unwrap_or_default();
    let mut contents = Contents::default();
    let (mut fine, mut all) = (0, 0);
    for recording in corpus() {
        if !recording.name.contains(&filter) {
            continue;
        }
        all += 1;
        let setups = images(&recording.case, &mut contents);
        let seen = seen(&recording.case, &recording.result);
        let mut run = Run::new(&setups, &mut contents);
        match run.play(&seen) {
            Ok(()) => fine += 1,
            Err((index, broken)) => {
                println!("== {} at {index}: {:?}", recording.name, seen[index]);
                println!("{broken}\n");
            }
        }
    }
    println!("{fine} of {all}");
    assert!(fine * 100 >= all * 90, "only {fine} of {all} recorded cases are accepted");
}
