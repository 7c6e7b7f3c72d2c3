//! What a disk promises.

use super::*;

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
