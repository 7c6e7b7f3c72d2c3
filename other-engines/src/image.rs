//! What both engines' images have in common.

use block::format::qcow2::check;
use midstream::seam::{Errno, Host, IoResult, OpenMode};
use midstream::{Checked, Image};

/// Clusters of eight sectors: guests write parts of one. An image of a profile then has a single L2 table and a single
/// refcount block. With several, the order in which they are written would be that of a hash map with a random seed: one
/// seed would have more than one history.
pub(crate) const CLUSTER_BYTES: u64 = 1 << CLUSTER_BITS;
pub(crate) const CLUSTER_BITS: u32 = 12;

/// Whether another image lies on this one; then it is read only.
pub(crate) fn is_backing(images: &[Image], image: &Image) -> bool {
    images.iter().any(|other| other.backing.as_ref() == Some(&image.path))
}

/// What our checker says of an image that nobody has open.
pub(crate) async fn sound(host: &dyn Host, image: &Image) -> IoResult<Option<Checked>> {
    let disk = host.open(&image.path, OpenMode::ReadOnly).await?;
    match check(&*disk).await {
        Ok(report) => Ok(Some(Checked { corruptions: report.corruptions, leaks: report.leaks })),
        Err(_not_an_image_any_more) => Err(Errno::EINVAL),
    }
}
