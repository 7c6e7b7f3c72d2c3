//! The file name of a node: that of the host file if opening it would give the node again, else `json:` and all that
//! would.
//!
//! Nothing is stored: a node's name depends on its children's, and those change. Who asks for several names keeps one
//! [`Filenames`]. Members of a `json:` name come in the order in which QEMU's dictionaries keep them, by hash.

use super::node::{Driver, Filter, Link, Storage};
use super::options::{Plain, bucket};
use super::{Graph, Place};
use crate::id::NodeId;
use seam::escape::push_string;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// QEMU keeps file names in 4096 bytes; a longer one ends in dots.
const BYTES_MAX: usize = 4095;

/// The options of an NBD node that its short name says; any other makes it a long one.
const ADDRESS_MEMBERS: [&str; 7] =
    ["server.type", "server.path", "server.host", "server.port", "export", "tls-creds", "tls-hostname"];

/// The file names of some nodes of one graph.
#[derive(Debug)]
pub(crate) struct Filenames<'g> {
    graph: &'g Graph,
    known: BTreeMap<NodeId, Known>,
}

/// What is known of one node.
#[derive(Clone, Debug)]
struct Known {
    name: String,
    /// Whether the name alone opens the node.
    is_exact: bool,
    /// Whether the backing is another than the header names.
    is_overridden: bool,
}

impl Graph {
    /// A node's file name.
    pub fn filename(&self, id: NodeId) -> String {
        Filenames::new(self).of(id).to_owned()
    }
}

impl Graph {
    /// The name by which a header leads to an image: that of its file, whatever backing it was given in the graph, if
    /// that is enough to find it; the image's own header says the rest.
    pub(crate) fn image_filename(&self, id: NodeId) -> String {
        let mut names = Filenames::new(self);
        names.learn(id);
        names.exact(self.place(id), false).unwrap_or_else(|| names.of(id).to_owned())
    }
}

impl<'g> Filenames<'g> {
    /// Nothing is known yet.
    pub(crate) fn new(graph: &'g Graph) -> Self {
        Filenames { graph, known: BTreeMap::new() }
    }

    /// The file name of a node.
    pub(crate) fn of(&mut self, id: NodeId) -> &str {
        self.learn(id);
        &self.known[&id].name
    }

    /// The backing file that the header of a node is taken to name, as QEMU resolved it when it opened the node.
    pub(crate) fn header_backing(place: &Place) -> Option<String> {
        let named = place.node.qcow2()?.backing()?.file;
        match &place.options.opened_backing {
            Some((header, opened)) if **header == *named => Some(opened.to_string()),
            _ => Some(named),
        }
    }

    /// Children first; a chain may be longer than a stack is deep.
    fn learn(&mut self, id: NodeId) {
        let mut open = vec![id];
        while let Some(id) = open.last().copied() {
            let before = open.len();
            if !self.known.contains_key(&id) {
                open.extend(self.graph.place(id).children().filter(|child| !self.known.contains_key(child)));
            }
            if open.len() == before {
                open.pop();
                if !self.known.contains_key(&id) {
                    let known = self.work_out(id);
                    self.known.insert(id, known);
                }
            }
        }
    }

    fn work_out(&self, id: NodeId) -> Known {
        let place = self.graph.place(id);
        if let Some(child) = copied_from(place) {
            return self.known[&child].clone();
        }
        let backing = place.backing.map(|backing| self.known[&backing].name.as_str());
        let is_overridden =
            place.node.qcow2().is_some() && Filenames::header_backing(place).as_deref() != backing;
        let known = Known { name: String::new(), is_exact: true, is_overridden };
        match self.exact(place, is_overridden) {
            Some(name) => Known { name, ..known },
            None => Known { name: self.json(id, is_overridden), is_exact: false, ..known },
        }
    }

    /// A name that opens the node just as it is, if there is one.
    fn exact(&self, place: &Place, is_overridden: bool) -> Option<String> {
        let below = || {
            let child = place.file?;
            let known = &self.known[&child];
            known.is_exact.then_some((self.graph.place(child), known))
        };
        let driver = place.node.driver_name();
        let has = |names: &[&str]| place.options.strong(driver).any(|(name, _)| !names.contains(&&**name));
        match &place.node.driver {
            Driver::Storage(Storage::File { .. }) => Some(place.node.filename.clone()),
            Driver::Storage(Storage::Nbd { remote, .. }) if !has(&ADDRESS_MEMBERS) => Some(remote.uri()),
            Driver::Storage(Storage::NullCo(_)) if !has(&[]) => Some("null-co://".to_owned()),
            Driver::Filter(Filter::Blkdebug(_)) if !has(&[]) => {
                Some(format!("blkdebug::{}", below()?.1.name))
            }
            Driver::Storage(Storage::Raw(_) | Storage::Qcow2(_)) if !has(&[]) && !is_overridden => {
                let (child, known) = below()?;
                child.node.driver.is_protocol().then(|| known.name.clone())
            }
            _ => None,
        }
    }

    fn json(&self, id: NodeId, is_overridden: bool) -> String {
        let mut text = String::from("json:");
        self.push_options(&mut text, id, Some(is_overridden));
        if text.len() > BYTES_MAX {
            text.truncate(BYTES_MAX - 3);
            text.push_str("...");
        }
        text
    }

    /// The options of a node and, inside, of its children. Stops when there is more than anybody is shown.
    fn push_options(&self, out: &mut String, id: NodeId, is_overridden: Option<bool>) {
        if out.len() > BYTES_MAX {
            return;
        }
        let place = self.graph.place(id);
        if let Some(child) = copied_from(place) {
            return self.push_options(out, child, None);
        }
        let is_overridden = is_overridden.unwrap_or_else(|| self.known[&id].is_overridden);
        let mut members = members(place, is_overridden);
        // Of two in one bucket the later one comes first.
        members.reverse();
        members.sort_by_key(|(name, _)| bucket(name));
        out.push('{');
        for (i, (name, value)) in members.into_iter().enumerate() {
            if i > 0 {
                out.push_str(", ");
            }
            push_string(out, name);
            out.push_str(": ");
            match value {
                Member::Driver => push_string(out, place.node.driver_name()),
                Member::Filename => push_string(out, &place.node.filename),
                Member::Plain(value) => push_plain(out, value),
                Member::Node(child) => self.push_options(out, child, None),
                Member::Null => out.push_str("null"),
            }
        }
        out.push('}');
    }
}

/// A member of a node's options.
enum Member<'g> {
    Driver,
    Filename,
    Plain(&'g Plain),
    Node(NodeId),
    Null,
}

fn members(place: &Place, is_overridden: bool) -> Vec<(&str, Member<'_>)> {
    let strong = place.options.strong(place.node.driver_name());
    let mut members: Vec<(&str, Member<'_>)> =
        strong.map(|(name, value)| (&**name, Member::Plain(value))).collect();
    members.push(("driver", Member::Driver));
    if place.node.disk().is_some() {
        members.push(("filename", Member::Filename));
    }
    if let Some(child) = place.file {
        members.push((place.node.driver.child_name(Link::File), Member::Node(child)));
    }
    if is_overridden {
        members.push(("backing", place.backing.map_or(Member::Null, Member::Node)));
    }
    members
}

/// The child that a node nobody named takes everything from.
fn copied_from(place: &Place) -> Option<NodeId> {
    let is_known_filter = matches!(
        place.node.driver,
        Driver::Filter(
            Filter::CopyOnRead { .. } | Filter::Throttle(_) | Filter::Compress | Filter::Blkdebug(_)
        )
    );
    let child = place.file.or(place.backing);
    child.filter(|_| place.implicit || (place.node.is_filter() && !is_known_filter))
}

fn push_plain(out: &mut String, value: &Plain) {
    match value {
        Plain::Text(text) => push_string(out, text),
        Plain::Int(number) => write!(out, "{number}").expect("a String takes everything"),
        Plain::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The order in which the real daemon lists them.
    #[test]
    fn members_come_in_the_order_of_their_hashes() {
        let recorded = [
            "inject-error.0.state",
            "inject-error.0.immediately",
            "set-state.0.event",
            "inject-error.0.once",
            "image",
            "driver",
            "inject-error.0.iotype",
            "set-state.0.new_state",
            "inject-error.0.event",
            "inject-error.0.errno",
            "inject-error.0.sector",
        ];
        assert!(recorded.is_sorted_by_key(|key| bucket(key)), "{:?}", recorded.map(bucket));
        for ordered in [
            ["backing", "driver", "file"],
            ["throttle-group", "driver", "file"],
            ["read-zeroes", "driver", "size"],
            ["offset", "driver", "size"],
            ["image", "driver", "align"],
        ] {
            assert!(ordered.is_sorted_by_key(|key| bucket(key)), "{ordered:?} {:?}", ordered.map(bucket));
        }
    }
}
