//! Where QEMU 10.0.2 is wrong: the model demands the right behaviour, and a real QEMU's failures get these names.
//!
//! The model knows no exceptions. A judge of a real QEMU asks [`explain`] whether a broken law is a known
//! divergence, and reports it under its name instead of as a discovery.

use crate::law::LawId;

/// One known divergence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Divergence {
    /// Its short name.
    pub name: &'static str,
    /// What QEMU 10.0.2 does.
    pub what: &'static str,
    /// What is right instead, and what the model demands.
    pub right: &'static str,
    /// The laws it breaks; empty if it does not show as one.
    pub laws: &'static [LawId],
}

/// Every known divergence of QEMU 10.0.2 that a job can show.
pub const DIVERGENCES: [Divergence; 10] = [
    Divergence {
        name: "query-crash",
        what: "query-named-block-nodes kills the daemon while a stream is concluded and not dismissed",
        right: "the query is answered at all times",
        laws: &[LawId::CommandsAnswered],
    },
    Divergence {
        name: "short-layer",
        what: "a stream onto a base ends early at the end of a short layer directly below the target, and base data shows",
        right: "what lies past the end of a short layer reads as zeroes, before and after",
        laws: &[LawId::StreamUnseen],
    },
    Divergence {
        name: "short-commit",
        what: "a commit of a short layer into a longer base lets base data show past the layer's end",
        right: "what lies past the end of a short layer reads as zeroes, before and after",
        laws: &[LawId::StreamUnseen, LawId::CopyTrue, LawId::GuestReads],
    },
    Divergence {
        name: "device-left-behind",
        what: "a stream that is refused after its job was created leaves its device on the target",
        right: "a refused command leaves nothing; the model accepts a graph with or without it",
        laws: &[],
    },
    Divergence {
        name: "no-flush",
        what: "a stream rewrites the header without a flush, so a kill loses data that was durable before",
        right: "data and metadata are flushed before the header, and the header before completion is told",
        laws: &[LawId::ChainOnDisk],
    },
    Divergence {
        name: "half-finalize",
        what: "a failed header write leaves the chain in memory changed",
        right: "the graph changes only after the header is written and flushed",
        laws: &[LawId::GraphKept, LawId::QueryTruth],
    },
    Divergence {
        name: "late-length",
        what: "a backing-file longer than a header holds is found out only after all data was copied",
        right: "the same; the model accepts the late error and demands an unchanged graph",
        laws: &[LawId::GraphKept, LawId::QueryTruth],
    },
    Divergence {
        name: "unfrozen-base",
        what: "the link to the base may be taken away during a stream, and the header then names no base",
        right: "the operator asked for it; the job ends on what it finds, and the model follows the graph",
        laws: &[],
    },
    Divergence {
        name: "lost-bytes",
        what: "a client that connects during start-up may lose the greeting or bytes of its commands",
        right: "every byte arrives",
        laws: &[LawId::CommandsAnswered, LawId::Reply],
    },
    Divergence {
        name: "forgotten-backing",
        what: "an empty backing-file detaches the base from the header while the running graph keeps it",
        right: "the operator asked for it; the model promises no view through such a header",
        laws: &[],
    },
];

/// The divergences that may be behind a broken law.
pub fn explain(law: LawId) -> impl Iterator<Item = &'static Divergence> {
    DIVERGENCES.iter().filter(move |divergence| divergence.laws.contains(&law))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_defects_are_named_by_the_law_they_break() {
        let names = |law| explain(law).map(|d| d.name).collect::<Vec<_>>();
        assert_eq!(names(LawId::StreamUnseen), ["short-layer", "short-commit"]);
        assert_eq!(names(LawId::ChainOnDisk), ["no-flush"]);
        assert_eq!(names(LawId::FlushedSurvives), Vec::<&str>::new());
    }
}
