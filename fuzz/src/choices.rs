//! The choice log of a run: any bytes are one. The fuzzer goes after runs that do something new, and each is judged as a run of
//! a campaign is.
//!
//! No law breaks; the choices that were recorded lead to the same run; and the trace that is made of them can be read.

use midstream::choice::{Choices, Decision, Point, Strategy};
use midstream::strategy::replay::strict;
use midstream::trace::Trace;
use midstream::verdict::{Outcome, Verdict};
use sim::subject::subject;

/// More bytes are more than a run asks for.
const BYTES_MAX: usize = 1 << 14;

/// Each decision takes as many bytes as it has need of, the next ones; when there are none left it is 0.
struct Bytes {
    left: std::vec::IntoIter<u8>,
}

impl Bytes {
    fn below(&mut self, of: u32) -> u32 {
        let bytes = self.left.by_ref().take(width(of));
        bytes.fold(0, |value: u32, byte| value << 8 | u32::from(byte)) % of
    }
}

/// How many bytes a number below `of` takes.
fn width(of: u32) -> usize {
    match of {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

impl Strategy for Bytes {
    fn choose(&mut self, _: Point, of: u32) -> u32 {
        self.below(of)
    }

    fn pick(&mut self, _: Point, options: &[Point]) -> usize {
        self.below(options.len() as u32) as usize
    }

    fn pick_by_number(&mut self, _: Point, of: u32) -> Option<u32> {
        Some(self.below(of))
    }
}

/// The bytes that lead to a run with these choices, without the zeroes at its end.
pub fn bytes(tape: &[Decision]) -> Vec<u8> {
    let of = |decision: &Decision| {
        let width = width(decision.of());
        decision.value().to_be_bytes()[4 - width..].to_vec()
    };
    let mut bytes: Vec<u8> = tape.iter().flat_map(of).collect();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

/// The run of these bytes.
pub fn run(bytes: &[u8]) -> Outcome {
    let left = Vec::from(&bytes[..bytes.len().min(BYTES_MAX)]).into_iter();
    subject().quiet(Choices::new(Box::new(Bytes { left })))
}

/// Takes the run of these bytes, and judges it.
pub fn check(bytes: &[u8]) {
    let outcome = run(bytes);
    match &outcome.verdict {
        Verdict::Passed => {}
        Verdict::Broken { law, detail } => panic!("law `{law}` broke: {detail}"),
        Verdict::Stuck { who } => panic!("stuck: {who}"),
        Verdict::Panicked { message } => panic!("the engine panicked: {message}"),
    }
    let (again, divergence) = strict(|choices| subject().quiet(choices), &outcome.tape);
    assert!(divergence.is_none(), "the same choices are other choices the second time");
    assert_eq!(again.history_hash, outcome.history_hash, "the same choices are the same run");
    let text = Trace::of(&outcome, None).to_text();
    let read = Trace::parse(&text).unwrap_or_else(|error| panic!("our own trace cannot be read: {error}"));
    assert!(read.choices == outcome.tape, "a trace has the choices that were written to it");
}
