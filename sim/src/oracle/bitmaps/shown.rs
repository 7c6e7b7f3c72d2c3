//! What a query shows of bitmaps, and nothing else of what it shows: the rest of the text is passed over.

use serde::Deserialize;

/// A node.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Node {
    pub(super) node_name: Option<String>,
    #[serde(default)]
    image: Image,
    #[serde(default)]
    dirty_bitmaps: Vec<Shown>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "kebab-case")]
struct Image {
    virtual_size: Option<u64>,
}

/// A bitmap of it.
#[derive(Deserialize, Debug)]
struct Shown {
    name: Option<String>,
    #[serde(default)]
    count: u64,
    granularity: Option<u64>,
}

/// The nodes that an answer shows; nothing, if it is none to such a query.
pub(super) fn nodes(text: &str) -> Option<Vec<Node>> {
    #[derive(Deserialize)]
    struct Answer {
        r#return: Vec<Node>,
    }
    serde_json::from_str(text).ok().map(|answer: Answer| answer.r#return)
}

impl Node {
    /// How many bytes are dirty in its bitmap of this name; nothing, if it has none.
    pub(super) fn dirty_bytes(&self, name: &str) -> Option<u64> {
        self.dirty_bitmaps.iter().find(|shown| shown.name.as_deref() == Some(name)).map(|shown| shown.count)
    }

    /// What is wrong if it has a bitmap with more than itself.
    pub(super) fn beyond(&self) -> Option<String> {
        let (size, name) = (self.image.virtual_size?, self.node_name.as_ref()?);
        let is_beyond = |shown: &&Shown| {
            let granularity = shown.granularity.filter(|granularity| *granularity > 0);
            granularity.is_some_and(|granularity| shown.count > size.next_multiple_of(granularity))
        };
        let count = self.dirty_bitmaps.iter().find(is_beyond)?.count;
        Some(format!("a bitmap of node `{name}` has {count} dirty bytes, and the node {size}"))
    }
}
