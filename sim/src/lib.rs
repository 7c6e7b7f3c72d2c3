//! The engine in midstream's world, QEMU's language in front of it and the model beside it; real daemons under the same
//! model; and the command.

pub mod attack;
pub mod command;
pub mod conform;
pub mod device;
pub mod fence;
pub mod judge;
pub mod layer;
pub mod live;
pub mod mutants;
pub mod oracle;
pub mod recovery;
pub mod report;
pub mod subject;
pub mod version;
pub mod workload;
pub mod world;
