//! What the name of a backing file in an image's header means: a file beside the image, or a node that it describes.

use crate::command::{BackingOptions, BlockdevOptions, ChildOptions, DriverOptions, FilterOptions};
use crate::error::Refused;
use crate::format::qcow2::BackingName;
use crate::qapi::file_name::described;

/// The node that the header of `image` names, in the format that the header says and no other.
pub(super) fn options(image: &str, named: &BackingName) -> Result<BlockdevOptions, Refused> {
    let refuse = |why: &str| {
        let (image, backing) = (image.to_owned(), named.file.clone());
        Refused::BackingNotFollowed { image, backing, why: why.to_owned() }
    };
    let format = named.format.as_deref();
    if let Some(node) = described(&named.file).map_err(|why| refuse(&why))? {
        return in_format(node, format).map_err(refuse);
    }
    let filename = beside(image, &named.file).ok_or_else(|| refuse("nothing here opens such a name"))?;
    let file = ChildOptions::named_file(filename);
    match format {
        Some(format) => Ok(BlockdevOptions::unnamed(over(file, format).map_err(refuse)?)),
        // A guessed format would let whoever wrote a raw image name any file of the host.
        None => Err(refuse("the header does not say its format")),
    }
}

/// A described node says itself what it is; the header may put a format on something that is none.
fn in_format(node: BlockdevOptions, format: Option<&str>) -> Result<BlockdevOptions, &'static str> {
    let Some(format) = format.filter(|format| *format != node.driver.name()) else { return Ok(node) };
    let is_storage = matches!(
        node.driver,
        DriverOptions::File { .. }
            | DriverOptions::NullCo { .. }
            | DriverOptions::Nbd { .. }
            | DriverOptions::Filter { filter: FilterOptions::Blkdebug { .. }, .. }
    );
    if !is_storage {
        return Err("the header says another format");
    }
    Ok(BlockdevOptions::unnamed(over(ChildOptions::Inline(Box::new(node)), format)?))
}

fn over(file: ChildOptions, format: &str) -> Result<DriverOptions, &'static str> {
    match format {
        "qcow2" => Ok(DriverOptions::qcow2(file, BackingOptions::FromHeader)),
        "raw" | "file" => Ok(DriverOptions::Raw { file, offset: 0, size: None }),
        _ => Err("its format is not known"),
    }
}

/// The file that a header's backing name means: relative to the image that names it.
pub(super) fn beside(image: &str, backing: &str) -> Option<String> {
    let backing = backing.strip_prefix("file:").unwrap_or(backing);
    let first = backing.split('/').next().unwrap_or_default();
    if first.contains(':') || backing.is_empty() {
        return None;
    }
    if backing.starts_with('/') {
        return Some(backing.to_owned());
    }
    match image.rfind('/') {
        Some(slash) => Some(format!("{}/{backing}", &image[..slash])),
        None => Some(backing.to_owned()),
    }
}
