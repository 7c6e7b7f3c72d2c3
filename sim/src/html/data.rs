//! What a page knows of a run, as it is embedded. Names are short where there are many of them; what repeats stands in a
//! table once, and rows have its index.

use serde::Serialize;

/// A run.
#[derive(Clone, Default, Debug, Serialize)]
pub struct Page {
    /// What it is called.
    pub title: String,
    /// The law that broke, or `passed`.
    pub law: String,
    /// Whether one did.
    pub broken: bool,
    /// What was found: the sentence of why.
    pub what: String,
    /// The chains and jobs as the verdict has them.
    pub detail: String,
    /// Why it is a law.
    pub why: String,
    /// Who recorded it, from which seed.
    pub origin: String,
    /// How the images were made, a line each.
    pub setup: String,
    /// Commands to paste.
    pub repro: Vec<String>,
    /// The image files.
    pub images: Vec<Image>,
    /// What happened.
    pub rows: Vec<Row>,
    /// The row that breaks the law.
    pub at: Option<usize>,
    /// The sectors that break it.
    pub differs: Vec<Differs>,
    /// What did not happen, and should have.
    pub absent: Vec<Absent>,
    /// Graphs.
    pub graphs: Vec<Graph>,
    /// Jobs, a line each.
    pub jobs: Vec<Vec<String>>,
    /// What may be believed of a sector.
    pub cells: Vec<Cell>,
    /// Ways to an observation.
    pub ways: Vec<Vec<Way>>,
    /// The run that is shown beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<Box<Beside>>,
}

/// Another run, to be compared.
#[derive(Clone, Default, Debug, Serialize)]
pub struct Beside {
    /// What it is called.
    pub title: String,
    /// How it ended.
    pub law: String,
    /// What was decided otherwise, if that is known.
    pub choice: String,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// An image file.
#[derive(Clone, Default, Debug, Serialize)]
pub struct Image {
    /// Its name.
    pub file: String,
    /// Its format.
    pub format: &'static str,
    /// The header's backing, as it was at first.
    pub backing: String,
    /// How many sectors there are.
    pub sectors: u64,
    /// How many of them lie in a cluster.
    pub cluster: u64,
    /// What is believed of each at first, by index.
    pub cells: Vec<usize>,
}

/// One thing that happened.
#[derive(Clone, Default, Debug, Serialize)]
pub struct Row {
    /// The step.
    pub s: String,
    /// The lane.
    pub l: u8,
    /// What.
    pub t: String,
    /// Whether somebody chose to do this: a command, a request, a fault, a crash.
    #[serde(skip_serializing_if = "is_false")]
    pub k: bool,
    /// Whether it belongs to the set-up.
    #[serde(skip_serializing_if = "is_false")]
    pub f: bool,
    /// The rows that it follows from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub c: Vec<usize>,
    /// The graph behind it.
    pub g: usize,
    /// The jobs.
    pub j: usize,
    /// How many states the judge had behind it; 0 if it had stopped judging.
    pub n: usize,
    /// The ways that there were to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub w: Option<usize>,
    /// What is believed otherwise of sectors behind it: image, sector, cell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub d: Vec<(u16, u32, usize)>,
    /// What was seen of an image's sectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v: Option<Values>,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// Values that were seen.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Values {
    /// In which image, or through it.
    pub i: u16,
    /// From which sector on.
    pub from: u64,
    /// By runs: `n0*4 g1.0.2`.
    pub v: String,
}

/// A sector that is not what it must be.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Differs {
    /// In which image, or through it.
    pub image: u16,
    /// Which.
    pub sector: u64,
    /// What it may be.
    pub expected: Vec<String>,
    /// What it is.
    pub found: String,
}

/// What did not happen.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Absent {
    /// In words.
    pub text: String,
    /// The row after which it should have happened.
    pub row: usize,
}

/// The graph and who uses it.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Graph {
    /// Nodes.
    pub nodes: Vec<Node>,
    /// Guests and exports.
    pub users: Vec<User>,
}

/// A node.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Node {
    /// Its number.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: &'static str,
    /// Whether it passes data through.
    pub filter: bool,
    /// Whether it refuses writes.
    pub ro: bool,
    /// The image that it shows.
    pub image: Option<u16>,
    /// Its children: role, number, who froze the link.
    pub to: Vec<(&'static str, u16, Vec<String>)>,
    /// Who holds it, as what.
    pub held: Vec<String>,
}

/// A guest or an export.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct User {
    /// Its name.
    pub name: String,
    /// The number of its node.
    pub node: u16,
    /// Whether it may write.
    pub w: bool,
}

/// What is believed of a sector.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Cell {
    /// Whether the image decides it: 0 no, 1 yes, 2 perhaps.
    pub o: u8,
    /// What readers may get.
    pub r: Vec<String>,
    /// What a crash may leave, where that is not the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s: Option<Vec<String>>,
}

/// A way to an observation.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Way {
    /// From which state.
    pub from: usize,
    /// Silent steps.
    pub steps: Vec<String>,
    /// Why it cannot be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no: Option<String>,
}
