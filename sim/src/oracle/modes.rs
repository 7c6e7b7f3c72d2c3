//! The law of modes: at rest a file is open for writing if a node on it may write, and only then.
//!
//! Jobs and commands open files for writing, and close them to writers again, on the way. Whoever leaves one open keeps
//! everybody else from the file; whoever closes one under a node that may write fails its next guest.

use super::Oracle;
use block::command::NodeInfo;
use midstream::world::disk::File;
use model::law::LawId;

/// The formats whose nodes say how the file below is to be open.
const FORMATS: [&str; 2] = ["qcow2", "raw"];

impl Oracle {
    /// All jobs have ended: how files are open, beside what nodes say of it. A fault may have kept a file from being opened
    /// as it should be, or from being opened again as it was; but one alone only where no job was about to. A command that
    /// it refused has put everything back.
    pub fn at_rest(&self, nodes: &[NodeInfo]) {
        let may_be_a_jobs = {
            let inner = self.inner();
            inner.beside.has_seen_jobs() && !inner.is_command_struck
        };
        let wrong = {
            let core = self.host.core();
            let struck = core.disks.faults.struck();
            if struck > 1 || struck == 1 && may_be_a_jobs {
                return;
            }
            wrong(nodes, &core.disks.files)
        };
        self.inner().rests += 1;
        self.break_law_by(wrong.map(|wrong| (LawId::ModesTrue, wrong)));
    }
}

/// What is wrong with how these files are open, if anything is.
fn wrong(nodes: &[NodeInfo], files: &[File]) -> Option<String> {
    let formats: Vec<&NodeInfo> = nodes.iter().filter(|node| FORMATS.contains(&node.driver)).collect();
    // By its name alone nobody can say which file such a node is on.
    if formats.iter().any(|node| node.file.starts_with("json:")) {
        return None;
    }
    files.iter().find_map(|file| {
        let on_it: Vec<&&NodeInfo> = formats.iter().filter(|node| node.file == file.path).collect();
        let (first, writer) = (on_it.first()?, on_it.iter().find(|node| !node.read_only));
        match (writer, file.is_open_for_writing()) {
            (Some(node), false) => {
                Some(format!("{} may write, and {} is not open for writing", node.node_name, file.path))
            }
            (None, true) => {
                Some(format!("{} is read-only, and {} is open for writing", first.node_name, file.path))
            }
            _ => None,
        }
    })
}
