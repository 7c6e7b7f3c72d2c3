//! Checked arguments of `blockdev-create` to what is to be made.

use super::node_options::child;
use super::options::{Arguments, CHECKED, integer, optional_text, owned_text, size, text, truth};
use super::refusal::Refusal;
use crate::command::{NewFile, NewImage, NewQcow2, Preallocation};
use crate::error::Refused;
use crate::error::create::CreateRefused;
use crate::format::qcow2::BackingName;

/// What an image is like of which nothing is said.
const CLUSTER_BYTES: i64 = 65536;
const REFCOUNT_BITS: i64 = 16;

/// The image that the arguments describe.
pub(crate) fn image(arguments: &Arguments) -> Result<NewImage, Refusal> {
    let options = arguments["options"].as_object().expect(CHECKED);
    match text(options, "driver") {
        "file" => Ok(NewImage::File(file(options))),
        "qcow2" => Ok(NewImage::Qcow2(Box::new(qcow2(options)?))),
        _ => Err(Refused::Create(CreateRefused::Driver).into()),
    }
}

fn file(options: &Arguments) -> NewFile {
    NewFile {
        filename: text(options, "filename").to_owned(),
        size: size(options, "size").expect(CHECKED),
        preallocation: match optional_text(options, "preallocation") {
            None | Some("off") => Preallocation::Off,
            Some("metadata") => Preallocation::Metadata,
            Some("falloc") => Preallocation::Falloc,
            Some("full") => Preallocation::Full,
            Some(other) => panic!("{CHECKED}, but preallocation is {other}"),
        },
        extent_size_hint: size(options, "extent-size-hint"),
    }
}

fn qcow2(options: &Arguments) -> Result<NewQcow2, Refusal> {
    let format = owned_text(options, "backing-fmt");
    let backing = owned_text(options, "backing-file");
    Ok(NewQcow2 {
        file: child(&options["file"])?,
        data_file: options.get("data-file").map(child).transpose()?,
        data_file_raw: truth(options, "data-file-raw").unwrap_or(false),
        extended_l2: truth(options, "extended-l2").unwrap_or(false),
        size: size(options, "size").expect(CHECKED),
        version: if optional_text(options, "version") == Some("v2") { 2 } else { 3 },
        format_alone: format.is_some() && backing.is_none(),
        backing: backing.map(|file| BackingName { file, format }),
        cluster_size: size(options, "cluster-size").unwrap_or(CLUSTER_BYTES),
        lazy_refcounts: truth(options, "lazy-refcounts").unwrap_or(false),
        refcount_bits: integer(options, "refcount-bits").unwrap_or(REFCOUNT_BITS),
        zstd: optional_text(options, "compression-type") == Some("zstd"),
    })
}
