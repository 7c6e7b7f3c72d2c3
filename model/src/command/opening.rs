//! Opens the nodes that `blockdev-add` describes, or says in which order it fails: the `file` child first, then the
//! node's own name, its format, its right to write, and last its backing.

use crate::command::blockdev::{Backing, Child, ImageFacts, NodeSpec};
use crate::command::plan::{admit_name, conflict_text};
use crate::command::reply::{Answer, Refusal};
use crate::command::stream::same_path;
use crate::graph::{Driver, Graph, ImageId, Node, NodeId};

/// Opens nodes on a graph: first to see whether it would be refused, then for real.
#[derive(Debug)]
pub struct Opening<'a> {
    /// The images there are.
    pub images: &'a [ImageFacts],
    /// The throttle groups there are.
    pub groups: &'a [String],
}

impl Opening<'_> {
    /// The answers a `blockdev-add` may get.
    pub fn answers(&self, graph: &Graph, spec: &NodeSpec, answers: &mut Vec<Answer>) {
        if spec.is_unmodelled() {
            answers.push(Answer::AnyError);
        }
        if spec.name.is_none() {
            return answers.push(Answer::Refused(Refusal::NameNeeded));
        }
        let mut trial = graph.clone();
        match self.open(&mut trial, spec, None) {
            Err(refusal) => answers.push(Answer::Refused(refusal)),
            Ok(_) => {
                let fresh = if graph.blockers.is_empty() && graph.users.is_empty() {
                    Vec::new()
                } else {
                    trial.conflicts()
                };
                let texts: Vec<String> =
                    fresh.iter().map(|conflict| conflict_text(&trial, conflict, |_| None)).collect();
                if !texts.is_empty() {
                    answers.push(Answer::Refused(Refusal::Conflict(texts)));
                }
                // An image that is open twice may be locked by its other user.
                if shares_an_image(graph, &trial) {
                    answers.push(Answer::ErrorAbout("lock"));
                    answers.push(Answer::ErrorAbout("Permission conflict on node"));
                }
                answers.push(Answer::Done);
            }
        }
    }

    /// Opens a node and what it names. `parent_read_only` is given for children that inherit it.
    pub fn open(&self, graph: &mut Graph, spec: &NodeSpec, parent: Option<bool>) -> Result<NodeId, Refusal> {
        let read_only = spec.read_only.or(parent).unwrap_or(false);
        let mut node = Node {
            name: spec.name.as_deref().map(Into::into),
            read_only,
            auto_read_only: spec.auto_read_only,
            by_monitor: spec.name.is_some(),
            unmodelled: spec.unmodelled,
            ..Node::new(spec.driver)
        };
        if spec.driver == Driver::NullCo {
            admit_own_name(graph, spec)?;
            node.bytes = u64::try_from(spec.size.unwrap_or(1 << 30)).ok();
            return Ok(graph.add(node));
        }
        if spec.driver == Driver::File {
            return self.open_file(graph, spec, node);
        }
        let file = match spec.file.as_ref().expect("the schema requires `file` of a format node") {
            Child::Named(name) => find_child(graph, name)?,
            Child::Inline(child) => self.open_inline(graph, child, Some(read_only))?,
        };
        admit_own_name(graph, spec)?;
        if let Some(group) = spec.throttle_group.as_ref().filter(|group| !self.groups.contains(group)) {
            return Err(Refusal::Paired(
                ["Throttle group '", "' does not exist", ""],
                group.clone(),
                String::new(),
            ));
        }
        let (image, filename) = (graph.node(file).image, graph.node(file).filename.clone());
        node.image = image;
        node.bytes = match spec.driver {
            Driver::Qcow2 => image.map(|image| self.facts(image).size_bytes),
            _ => graph.node(file).bytes,
        };
        node.filename = filename;
        node.file = Some(file);
        let is_qcow2 = image.is_some_and(|image| self.facts(image).qcow2);
        if spec.driver == Driver::Qcow2 && !is_qcow2 {
            return Err(Refusal::NotQcow2);
        }
        if spec.driver.is_filter() {
            node.read_only = spec.read_only.unwrap_or(false);
            return Ok(graph.add(node));
        }
        if !read_only && graph.node(file).read_only_for_good {
            return Err(Refusal::ReadOnly);
        }
        if spec.driver == Driver::Qcow2 {
            let backing = self.open_backing(graph, spec, image);
            node.backing = backing.map_err(|refusal| Refusal::Backing(Box::new(refusal)))?;
            node.header =
                image.and_then(|image| self.facts(image).headers.last()?.as_deref().map(Into::into));
        }
        Ok(graph.add(node))
    }

    fn open_file(&self, graph: &mut Graph, spec: &NodeSpec, mut node: Node) -> Result<NodeId, Refusal> {
        admit_own_name(graph, spec)?;
        let filename = spec.filename.clone().unwrap_or_default();
        node.image = Some(self.find(&filename).ok_or(Refusal::NoSuchFile(filename.clone()))?);
        node.filename = Some(filename.into());
        let facts = node.image.map(|image| self.facts(image));
        node.bytes = facts.filter(|facts| !facts.qcow2).map(|facts| facts.size_bytes);
        // Reopening a format node reopens its protocol node too, unless that was given otherwise.
        node.read_only_for_good = spec.read_only == Some(true);
        Ok(graph.add(node))
    }

    /// A node written inside another belongs to it, not to the operator.
    fn open_inline(
        &self,
        graph: &mut Graph,
        spec: &NodeSpec,
        parent: Option<bool>,
    ) -> Result<NodeId, Refusal> {
        let id = self.open(graph, spec, parent)?;
        graph.node_mut(id).by_monitor = false;
        Ok(id)
    }

    fn open_backing(
        &self,
        graph: &mut Graph,
        spec: &NodeSpec,
        image: Option<ImageId>,
    ) -> Result<Option<NodeId>, Refusal> {
        match &spec.backing {
            Backing::Nothing => Ok(None),
            Backing::Given(Child::Named(name)) => find_child(graph, name).map(Some),
            // A backing node is opened read-only unless it says otherwise.
            Backing::Given(Child::Inline(child)) => self.open_inline(graph, child, Some(true)).map(Some),
            Backing::Header => match image.and_then(|image| self.facts(image).headers.last()?.clone()) {
                None => Ok(None),
                Some(header) => self.open_header(graph, image, &header).map(Some),
            },
        }
    }

    /// Opens the image that a header names, and its chain: nameless nodes, read-only.
    fn open_header(
        &self,
        graph: &mut Graph,
        overlay: Option<ImageId>,
        header: &str,
    ) -> Result<NodeId, Refusal> {
        let overlay = overlay.map(|image| self.facts(image).file.as_str());
        let file = resolve(overlay, header);
        let image = self.find(&file).ok_or(Refusal::NoSuchFile(file.clone()))?;
        let depth = graph.alive().count();
        if depth > 4 * self.images.len() + 64 {
            return Err(Refusal::NoSuchFile(file));
        }
        let driver = if self.facts(image).qcow2 { Driver::Qcow2 } else { Driver::Raw };
        let blank = |driver, filename, file| NodeSpec {
            name: None,
            driver,
            filename,
            file,
            backing: Backing::Header,
            read_only: None,
            auto_read_only: true,
            throttle_group: None,
            size: None,
            unmodelled: false,
        };
        let protocol = blank(Driver::File, Some(file), None);
        let format = blank(driver, None, Some(Child::Inline(Box::new(protocol))));
        self.open_inline(graph, &format, Some(true))
    }

    fn facts(&self, image: ImageId) -> &ImageFacts {
        &self.images[usize::from(image.0)]
    }

    /// The image of that file name.
    pub fn find(&self, file: &str) -> Option<ImageId> {
        let index =
            self.images.iter().position(|image| image.file == file || same_path(&image.file, file))?;
        Some(ImageId(index as u16))
    }

    /// The image that the header of `overlay` names by `header`.
    pub fn find_header(&self, overlay: &str, header: &str) -> Option<ImageId> {
        self.find(&resolve(Some(overlay), header))
    }
}

/// A relative backing file name counts from the folder of the image whose header holds it.
pub fn resolve(overlay: Option<&str>, header: &str) -> String {
    match overlay.and_then(|file| file.rsplit_once('/')) {
        Some((folder, _)) if !header.starts_with('/') => format!("{folder}/{header}"),
        _ => header.to_owned(),
    }
}

fn find_child(graph: &Graph, name: &str) -> Result<NodeId, Refusal> {
    graph.find(name).ok_or_else(|| Refusal::NoSuchNode(name.to_owned(), name.to_owned()))
}

fn admit_own_name(graph: &Graph, spec: &NodeSpec) -> Result<(), Refusal> {
    match &spec.name {
        Some(name) => admit_name(graph, name, ""),
        None => Ok(()),
    }
}

fn shares_an_image(before: &Graph, after: &Graph) -> bool {
    let files = |graph: &Graph| -> Vec<Option<ImageId>> {
        graph.alive().filter(|(_, node)| node.driver == Driver::File).map(|(_, node)| node.image).collect()
    };
    let (old, new) = (files(before), files(after));
    let twice =
        new.iter().enumerate().any(|(index, image)| index >= old.len() && new[..index].contains(image));
    let formats =
        |id: NodeId| after.parents(id).filter(|parent| after.node(*parent).file == Some(id)).count();
    twice || after.alive().any(|(id, _)| formats(id) > 1)
}
