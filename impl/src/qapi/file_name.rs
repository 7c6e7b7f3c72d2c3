//! File names that describe a node rather than name a file: `json:{…}`, and the short forms that the engine itself gives
//! (`graph/filename.rs`). A header may hold one, so it says only what a header may: it opens nothing for writing, leads
//! to no node of the operator's, and does not decide how others are kept from a file.

use super::check::check;
use super::json;
use super::keyval::{insert, type_object};
use super::node_options;
use super::options::Arguments;
use super::schema::BLOCKDEV_OPTIONS;
use crate::command::{BackingOptions, BlockdevOptions, ChildOptions, DriverOptions, FilterOptions};
use crate::permission::Set;
use serde_json::{Map, Value};

/// No name that anybody writes is longer.
const BYTES_MAX: usize = 4096;

/// The node that a name describes; none if it is the name of a file. The error says what is wrong with it.
pub(crate) fn described(name: &str) -> Result<Option<BlockdevOptions>, String> {
    if name.len() > BYTES_MAX {
        return Err("it is too long".to_owned());
    }
    if let Some(text) = name.strip_prefix("json:") {
        let options = from_json(text)?;
        admit(&options)?;
        return Ok(Some(options));
    }
    if name == "null-co://" {
        let driver = DriverOptions::NullCo { size: None, latency: None, read_zeroes: false };
        return Ok(Some(BlockdevOptions::unnamed(driver)));
    }
    let Some(image) = name.strip_prefix("blkdebug::") else { return Ok(None) };
    let image = match described(image)? {
        Some(options) => ChildOptions::Inline(Box::new(options)),
        None => ChildOptions::named_file(image.strip_prefix("file:").unwrap_or(image).to_owned()),
    };
    let (errors, changes) = (Vec::new(), Vec::new());
    let (taken, unshared) = (Set::NONE, Set::NONE);
    let filter = FilterOptions::Blkdebug { errors, changes, config: None, align: None, taken, unshared };
    Ok(Some(BlockdevOptions::unnamed(DriverOptions::Filter { child: image, filter })))
}

fn from_json(text: &str) -> Result<BlockdevOptions, String> {
    let read = json::read(text).and_then(Result::ok);
    let Some(Value::Object(flat)) = read else { return Err("it is not a JSON object".to_owned()) };
    let mut arguments = nested(flat)?;
    type_object(&mut arguments, &BLOCKDEV_OPTIONS, "").map_err(|fault| fault.to_string())?;
    check(&arguments, &BLOCKDEV_OPTIONS).map_err(|fault| fault.to_string())?;
    node_options::blockdev(&arguments).map_err(|refusal| refusal.description)
}

/// Members whose names have dots, as QEMU flattens its options, stand where the dots lead.
fn nested(flat: Arguments) -> Result<Arguments, String> {
    let mut object = Map::new();
    for (name, value) in flat {
        let value = match value {
            Value::Object(inner) => Value::Object(nested(inner)?),
            value => value,
        };
        insert(&mut object, &name, value).map_err(|fault| fault.to_string())?;
    }
    Ok(object)
}

/// What a header may say of a node and its children.
fn admit(options: &BlockdevOptions) -> Result<(), &'static str> {
    let settings = &options.settings;
    if options.node_name.is_some() {
        return Err("it names a node");
    }
    if options.read_only == Some(false) {
        return Err("it opens for writing");
    }
    if [settings.direct, settings.no_flush, settings.force_share].contains(&Some(true)) {
        return Err("it decides how a file is opened");
    }
    match &options.driver {
        DriverOptions::File { locks: Some(false), .. } => Err("it decides how a file is opened"),
        DriverOptions::Nbd { .. } => Err("it leads to a server"),
        DriverOptions::File { .. } | DriverOptions::NullCo { .. } => Ok(()),
        DriverOptions::Filter { filter: FilterOptions::Blkdebug { taken, unshared, .. }, .. }
            if (*taken, *unshared) != (Set::NONE, Set::NONE) =>
        {
            Err("it takes permissions")
        }
        DriverOptions::Filter { child, .. } | DriverOptions::Raw { file: child, .. } => admit_child(child),
        DriverOptions::Qcow2 { file, backing, data_file, .. } => {
            admit_child(file)?;
            data_file.as_ref().map_or(Ok(()), admit_child)?;
            match backing {
                BackingOptions::Child(child) => admit_child(child),
                BackingOptions::FromHeader | BackingOptions::None => Ok(()),
            }
        }
    }
}

fn admit_child(child: &ChildOptions) -> Result<(), &'static str> {
    match child {
        ChildOptions::Reference(_) => Err("it leads to a node of the operator's"),
        ChildOptions::Inline(options) => admit(options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str) -> String {
        described(name).expect_err(name)
    }

    #[test]
    fn plain_names_describe_nothing() {
        for name in ["/a", "a.qcow2", "file:/a", "nbd://host", ""] {
            assert_eq!(described(name), Ok(None), "{name}");
        }
    }

    #[test]
    fn nested_flat_and_quoted_members_say_the_same() {
        let expected = described(
            r#"json:{"driver":"raw","offset":512,"size":1024,"file":{"driver":"file","filename":"/a"}}"#,
        );
        let Ok(Some(options)) = &expected else { panic!("{expected:?}") };
        let DriverOptions::Raw { file: ChildOptions::Inline(file), offset: 512, size: Some(1024) } =
            &options.driver
        else {
            panic!("{options:?}")
        };
        assert_eq!(file.driver, DriverOptions::File { filename: "/a".to_owned(), locks: None });
        for same in [
            r#"json:{"file.filename":"/a","driver":"raw","offset":512,"size":1024,"file.driver":"file"}"#,
            r#"json:{'driver':'raw','offset':'512','size':1024,'file':{'driver':'file','filename':'/a'}}"#,
        ] {
            assert_eq!(described(same), expected, "{same}");
        }
    }

    #[test]
    fn a_flat_list_is_a_list() {
        let name = r#"json:{"driver":"blkdebug","image":{"driver":"null-co"},"inject-error.0.event":"read_aio","inject-error.0.errno":5}"#;
        let Ok(Some(options)) = described(name) else { panic!("{:?}", described(name)) };
        let DriverOptions::Filter { filter: FilterOptions::Blkdebug { errors, .. }, .. } = &options.driver
        else {
            panic!("{options:?}")
        };
        assert_eq!(errors.len(), 1);
    }

    #[test]
    fn short_forms_nest() {
        for name in ["null-co://", "blkdebug::null-co://", "blkdebug::blkdebug::/a"] {
            assert!(matches!(described(name), Ok(Some(_))), "{name}");
        }
    }

    #[test]
    fn a_header_may_not_say_everything() {
        for (name, why) in [
            ("json:", "it is not a JSON object"),
            ("json:[]", "it is not a JSON object"),
            (r#"json:{"driver":"nbd"}"#, "Parameter 'server' is missing"),
            (r#"json:{"driver":"raw","file":"n0"}"#, "it leads to a node of the operator's"),
            (r#"json:{"driver":"null-co","node-name":"n0"}"#, "it names a node"),
            (r#"json:{"driver":"null-co","read-only":false}"#, "it opens for writing"),
            (r#"json:{"driver":"nbd","server.type":"unix","server.path":"/s"}"#, "it leads to a server"),
            (
                r#"json:{"driver":"raw","file":{"driver":"file","filename":"/a","locking":"off"}}"#,
                "it decides how a file is opened",
            ),
            (
                r#"json:{"driver":"file","filename":"/a","cache":{"no-flush":true}}"#,
                "it decides how a file is opened",
            ),
            (
                r#"json:{"driver":"blkdebug","image":{"driver":"null-co"},"take-child-perms":["write"]}"#,
                "it takes permissions",
            ),
        ] {
            assert_eq!(refused(name), why, "{name}");
        }
        assert_eq!(refused(&format!("json:{}", " ".repeat(BYTES_MAX))), "it is too long");
    }
}
