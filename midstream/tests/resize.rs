//! Images that change their length while guests use them: a layer that does it right breaks nothing, and each way of doing
//! it wrong breaks the law that it should.

mod turns;

use midstream::scenario::{Scenario, eio, flush, kill, power_cut, read, resize, write};
use midstream::seam::{Disk, Errno, Host, IoResult, OpenMode};
use midstream::{BlockLayer, Device, Failure, Image, Profile, event_log, find};
use std::sync::{Arc, Mutex};
use turns::Turns;

const SECTOR: u64 = 512;

/// What is wrong with the layer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Bug {
    None,
    /// It grows over what a shrink left behind.
    ForgetsZeroes,
    /// It writes the length at the clean end only.
    ForgetsLength,
    /// It says it has grown, and has not.
    NeverGrows,
    /// A resize never ends.
    Hangs,
}

/// One sector with the length, then data, each sector where it belongs.
#[derive(Debug)]
struct Sized(Bug);

#[derive(Debug)]
struct Open {
    bug: Bug,
    disk: Arc<dyn Disk>,
    length: Mutex<Length>,
    /// One resize or flush at a time: an older length must not land on a newer one.
    turns: Turns,
}

#[derive(Copy, Clone, Debug)]
struct Length {
    bytes: u64,
    /// What the disk has may be another.
    is_stale: bool,
}

impl BlockLayer for Sized {
    type Device = Open;

    const SURVIVES_KILL: bool = true;

    async fn create(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<()> {
        let disk = host.open(&image.path, OpenMode::ReadWrite).await?;
        disk.write(0, header(image.size_bytes)).await
    }

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Open>> {
        let mut devices = Vec::new();
        for image in images {
            let disk = host.open(&image.path, OpenMode::ReadWrite).await?;
            let bytes = u64::from_le_bytes(disk.read(0, vec![0; 8]).await?.try_into().unwrap());
            let length = Mutex::new(Length { bytes, is_stale: false });
            devices.push(Open { bug: self.0, disk, length, turns: Turns::default() });
        }
        Ok(devices)
    }
}

fn header(bytes: u64) -> Vec<u8> {
    let mut header = vec![0; SECTOR as usize];
    header[..8].copy_from_slice(&bytes.to_le_bytes());
    header
}

impl Open {
    fn length(&self) -> Length {
        *self.length.lock().unwrap()
    }

    async fn write_length(&self, bytes: u64) -> IoResult<()> {
        self.length.lock().unwrap().is_stale = true;
        if self.bug != Bug::ForgetsLength {
            self.disk.write(0, header(bytes)).await?;
        }
        *self.length.lock().unwrap() = Length { bytes, is_stale: self.bug == Bug::ForgetsLength };
        Ok(())
    }
}

impl Device for Open {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        self.disk.read(SECTOR + offset, vec![0; len as usize]).await
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        self.disk.write(SECTOR + offset, data).await
    }

    async fn flush(&self) -> IoResult<()> {
        let _turn = self.turns.take().await;
        let length = self.length();
        if length.is_stale && self.bug != Bug::ForgetsLength {
            self.write_length(length.bytes).await?;
        }
        self.disk.flush().await
    }

    async fn resize(&self, size_bytes: u64) -> IoResult<()> {
        let _turn = self.turns.take().await;
        let old = self.length().bytes;
        match self.bug {
            Bug::Hangs => std::future::pending().await,
            Bug::NeverGrows if size_bytes > old => return Ok(()),
            _ => {}
        }
        if size_bytes > old && self.bug != Bug::ForgetsZeroes {
            self.disk.write_zeroes(SECTOR + old, size_bytes - old).await?;
            // The new length must not reach the disk before the zeroes do.
            self.disk.flush().await?;
        }
        self.write_length(size_bytes).await
    }

    fn size_bytes(&self) -> Option<u64> {
        Some(self.length().bytes)
    }

    async fn close(&self) -> IoResult<()> {
        self.disk.write(0, header(self.length().bytes)).await?;
        self.disk.flush().await
    }
}

fn found(bug: Bug, scenario: Scenario) -> Option<Box<Failure>> {
    find(Sized(bug), scenario, 300).err()
}

fn law(bug: Bug, scenario: Scenario) -> Option<String> {
    found(bug, scenario).map(|failure| failure.law.unwrap_or(failure.detail))
}

fn down_and_up() -> Scenario {
    Scenario::chain(["disk dddddddd"]).guest("disk", [resize(4), resize(8), read(0, 8)])
}

const READS: &str = "a read returns what was written";
const FLUSHED: &str = "what was flushed survives a power cut";

#[test]
fn a_layer_that_resizes_rightly_breaks_nothing() {
    let totals = find(Sized(Bug::None), Profile::default(), 3_000).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(totals.inconclusive, 0);
    let log = |seed| event_log(Sized(Bug::None), Profile::default(), seed).unwrap_or_else(|f| panic!("{f}"));
    let resizes = (1..100).flat_map(log).filter(|line| line.contains(" Resize to ")).count();
    assert!(resizes > 50, "only {resizes} resizes in 99 runs");
}

#[test]
fn what_is_new_reads_as_zeroes() {
    assert_eq!(law(Bug::None, down_and_up()), None);
    assert_eq!(law(Bug::ForgetsZeroes, down_and_up()).as_deref(), Some(READS));
    let without_crashes = Profile { crashes: Vec::new(), ..Profile::default() };
    let drawn = find(Sized(Bug::ForgetsZeroes), without_crashes, 3_000).expect_err("it has a bug");
    assert_eq!(drawn.law.as_deref(), Some(READS), "{drawn}");
    let resizes = drawn.steps.iter().filter(|step| step.contains(" Resize to ")).count();
    assert_eq!(resizes, 2, "down and up, and no more: {drawn}");
}

#[test]
fn a_length_that_was_flushed_is_there_after_a_crash() {
    let shrunk = || Scenario::chain(["disk dddddddd"]).guest("disk", [resize(4), flush()]).crash(power_cut());
    assert_eq!(law(Bug::None, shrunk()), None);
    let failure = found(Bug::ForgetsLength, shrunk()).expect("the length is forgotten");
    assert_eq!(failure.law.as_deref(), Some(FLUSHED), "{failure}");
    assert_eq!(failure.detail, "disk has 8 sectors, and should have 4");
}

#[test]
fn a_length_is_what_was_asked_for() {
    let grown = || Scenario::chain(["disk dd"]).guest("disk", [resize(4), read(0, 4)]);
    assert_eq!(law(Bug::None, grown()), None);
    let failure = found(Bug::NeverGrows, grown()).expect("it never grows");
    assert_eq!(
        (failure.law.as_deref(), &*failure.detail),
        (Some(READS), "disk has 2 sectors, and should have 4")
    );
}

#[test]
fn who_waits_for_a_resize_is_named() {
    let failure = found(Bug::Hangs, down_and_up()).expect("it hangs");
    assert!(failure.detail.contains("guest 0 lane 0 request 0 waits for Resize to 4 sectors"), "{failure}");
}

// Requests on what is cut off are under way while the image shrinks; errors and crashes leave any of two lengths.
#[test]
fn resizes_overlap_with_requests_errors_and_crashes() {
    let busy = || {
        Scenario::chain(["disk dddddddd"])
            .guest("disk", [write(2, 6), read(0, 8), write(4, 4), flush()])
            .guest("disk", [resize(4), resize(12), resize(6), flush()])
    };
    for scenario in [
        busy(),
        busy().crash(power_cut()),
        busy().crash(kill()),
        busy().fault(eio("disk").once()),
        busy().fault(eio("disk").on_flush().once()).crash(power_cut()),
        busy().fault(eio("disk").after(2)).crash(kill()),
    ] {
        assert_eq!(law(Bug::None, scenario.clone()), None, "{:?}", scenario.lines());
    }
}

#[test]
fn a_layer_that_cannot_resize_answers_so_and_nothing_is_judged_of_lengths() {
    struct Fixed;
    struct Plain(Arc<dyn Disk>);
    impl BlockLayer for Fixed {
        type Device = Plain;
        async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Plain>> {
            Ok(vec![Plain(host.open(&images[0].path, OpenMode::ReadWrite).await?)])
        }
    }
    impl Device for Plain {
        async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
            self.0.read(offset, vec![0; len as usize]).await
        }
        async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
            self.0.write(offset, data).await
        }
        async fn flush(&self) -> IoResult<()> {
            self.0.flush().await
        }
    }
    let asked = Scenario::chain(["disk dddd"]).guest("disk", [resize(2), read(0, 4)]);
    let log = event_log(Fixed, asked.clone(), 1).unwrap_or_else(|f| panic!("{f}"));
    let refused = format!("g0.0.0    fails: {}", Errno::ENOTSUP);
    assert!(log.iter().any(|line| line.ends_with(&refused)), "{log:?}");
    assert!(find(Fixed, asked, 50).is_ok());
}
