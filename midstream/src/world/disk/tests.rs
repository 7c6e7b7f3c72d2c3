//! What the simulated disk promises, and what it does badly.

use super::*;
use crate::world::fault::{Fault, Often};

fn write(disks: &mut Disks, offset: u64, byte: u8, len: usize) {
    disks.submit(0, Ask::Write(offset, Change::Bytes(vec![byte; len])));
}

fn one_file(len: usize) -> Disks {
    Disks::new(vec![File::new("a", vec![0; len])])
}

#[test]
fn a_flush_covers_what_landed_before_its_submission_and_nothing_else() {
    let mut disks = one_file(1024);
    write(&mut disks, 0, 1, 512);
    write(&mut disks, 512, 2, 512);
    disks.complete(0);
    disks.submit(0, Ask::Flush);
    disks.complete(0); // the second write lands after the flush was submitted
    disks.complete(0);
    let durable = disks.files[0].durable();
    assert_eq!(durable[0], 1, "landed before the flush");
    assert_eq!(durable[512], 0, "landed after the flush was submitted");
    assert_eq!(disks.files[0].bytes[512], 2, "readers see it all the same");
}

#[test]
fn the_durable_content_takes_back_growth_and_cuts() {
    let mut disks = one_file(1024);
    write(&mut disks, 0, 7, 1024);
    disks.complete(0);
    disks.submit(0, Ask::Flush);
    disks.complete(0);
    disks.submit(0, Ask::Write(0, Change::Length(100)));
    disks.complete(0);
    write(&mut disks, 4096, 9, 10);
    disks.complete(0);
    disks.submit(0, Ask::Write(50, Change::Zeroes(100)));
    disks.complete(0);
    assert_eq!(disks.files[0].bytes.len(), 4106);
    assert_eq!(disks.files[0].durable(), vec![7; 1024]);
}

#[test]
fn a_read_sees_the_bytes_of_its_completion() {
    let mut disks = one_file(512);
    let read = disks.submit(0, Ask::Read(0, vec![1; 600]));
    write(&mut disks, 0, 5, 512);
    disks.complete(1);
    disks.complete(0);
    let bytes = disks.answer(read, Waker::noop()).expect("complete").expect("no fault");
    assert_eq!((bytes[0], bytes[511], bytes[512]), (5, 5, 0));
}

#[test]
fn an_abandoned_write_still_lands() {
    let mut disks = one_file(512);
    let id = disks.submit(0, Ask::Write(0, Change::Bytes(vec![3; 512])));
    disks.abandon(id);
    disks.complete(0);
    assert_eq!(disks.files[0].bytes[0], 3);
    assert!(disks.waiting.is_empty());
}

fn fault(kind: Kind, effect: Effect) -> Fault {
    let often = Often::Once;
    Fault { kind, effect, often, ..Fault::new(Errno::EIO) }
}

fn done(disks: &mut Disks, ask: Ask) -> Answer {
    let id = disks.submit(0, ask);
    disks.complete(0);
    disks.answer(id, Waker::noop()).expect("complete")
}

// A flush fails and the next one succeeds: only what was written anew in between is durable.
#[test]
fn a_flush_that_forgets_takes_away_for_good_what_it_was_to_make_durable() {
    let mut disks = one_file(1024);
    write(&mut disks, 0, 1, 1024);
    disks.complete(0);
    disks.faults.arm(fault(Kind::Flush, Effect::Forgets));
    assert_eq!(done(&mut disks, Ask::Flush), Err(Errno::EIO));
    write(&mut disks, 512, 2, 512);
    disks.complete(0);
    assert_eq!(done(&mut disks, Ask::Flush), Ok(Vec::new()));
    let (file, durable) = (&disks.files[0], disks.files[0].durable());
    assert_eq!((file.bytes[0], durable[0]), (1, 0), "readers see it, and it is lost");
    assert_eq!((file.bytes[512], durable[512]), (2, 2), "it was written anew");
}

#[test]
fn what_a_close_has_lost_the_next_flush_reports_once() {
    let mut disks = one_file(512);
    write(&mut disks, 0, 1, 512);
    disks.complete(0);
    disks.faults.arm(fault(Kind::Close, Effect::Forgets));
    disks.close(0);
    disks.close(0);
    assert_eq!(done(&mut disks, Ask::Flush), Err(Errno::EIO));
    assert_eq!(done(&mut disks, Ask::Flush), Ok(Vec::new()));
    assert_eq!(disks.files[0].durable(), [0; 512]);
}

#[test]
fn on_a_full_disk_the_sectors_that_fit_are_written_and_no_zeroes() {
    let mut disks = one_file(512);
    disks.faults.arm(fault(Kind::Write, Effect::Full { free_bytes: 1000, steps: 5 }));
    let bytes = || Ask::Write(512, Change::Bytes(vec![1; 1024]));
    assert_eq!(done(&mut disks, bytes()), Err(Errno::ENOSPC));
    assert_eq!(disks.files[0].bytes.len(), 1024);
    assert_eq!(done(&mut disks, Ask::Write(1024, Change::Zeroes(512))), Err(Errno::ENOSPC));
    assert_eq!(disks.files[0].bytes.len(), 1024);
    assert_eq!(done(&mut disks, Ask::Write(0, Change::Length(4096))), Ok(Vec::new()), "a hole");
    disks.step = 5;
    assert_eq!(done(&mut disks, bytes()), Ok(Vec::new()), "there is room again");
}

#[test]
fn who_opens_a_file_may_find_it_locked() {
    let mut disks = one_file(0);
    disks.faults.arm(Fault { kind: Kind::Lock, after: 1, ..Fault::new(Errno::EAGAIN) });
    assert_eq!(done(&mut disks, Ask::Open), Ok(Vec::new()));
    assert_eq!(done(&mut disks, Ask::Reopen), Err(Errno::EAGAIN));
}

#[test]
fn a_lying_disk_answers_success() {
    let mut disks = one_file(2048);
    disks.faults.arm(fault(Kind::Write, Effect::Lies));
    write(&mut disks, 0, 1, 512);
    disks.complete(0);
    assert_eq!(disks.files[0].bytes, [0; 2048], "lost");
    disks.faults.arm(fault(Kind::Write, Effect::Astray(2)));
    write(&mut disks, 0, 1, 512);
    disks.complete(0);
    assert_eq!((disks.files[0].bytes[0], disks.files[0].bytes[1024]), (0, 1), "astray");
    disks.faults.arm(fault(Kind::Flush, Effect::Lies));
    assert_eq!(done(&mut disks, Ask::Flush), Ok(Vec::new()));
    assert_eq!(disks.files[0].durable(), [0; 2048], "not durable");
    assert_eq!(disks.faults.struck(), 0, "nothing has failed");
}

#[test]
fn a_disk_with_a_bandwidth_does_one_request_after_the_other() {
    let mut file = File::new("a", Vec::new());
    assert_eq!(file.queue(100, 50), 50);
    assert_eq!(file.queue(120, 50), 80, "30 are left of the first");
    assert_eq!(file.queue(1000, 50), 50, "nobody is before it");
}
