//! The first line of a history: which form, which specification, and the images before the run.

use super::values::Values;
use super::{IMAGES_MAX, NAME_BYTES_MAX, VALUES_MAX};
use model::{Format, ImageSetup, Release};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The sector is the unit of content.
const SECTOR_BYTES: u64 = 512;
/// An image is at most so long.
const SIZE_BYTES_MAX: u64 = 1 << 60;
/// Clusters of these sizes are known.
const CLUSTER_BYTES: std::ops::RangeInclusive<u64> = 512..=2 << 20;

/// What a history is judged by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Spec {
    /// Block jobs, guests and crashes as QEMU 10.0 has them.
    #[serde(rename = "qemu-10.0")]
    Qemu10,
    /// The same as QEMU 11.1 has them.
    #[serde(rename = "qemu-11.1")]
    Qemu11,
    /// Devices that keep data: reads, writes, flushes and crashes alone.
    #[serde(rename = "data-only")]
    DataOnly,
}

impl Spec {
    /// Each of them.
    pub const ALL: [Spec; 3] = [Spec::Qemu10, Spec::Qemu11, Spec::DataOnly];

    /// The one of that name.
    pub fn named(name: &str) -> Option<Spec> {
        Spec::ALL.into_iter().find(|spec| spec.name() == name)
    }

    /// As files name it.
    pub fn name(self) -> &'static str {
        match self {
            Spec::Qemu10 => "qemu-10.0",
            Spec::Qemu11 => "qemu-11.1",
            Spec::DataOnly => "data-only",
        }
    }

    /// The one for what a release of QEMU did.
    pub fn of(release: Release) -> Spec {
        match release {
            Release::V10_0_2 | Release::V10_0_13 => Spec::Qemu10,
            Release::V11_1_3 => Spec::Qemu11,
        }
    }

    /// The release of QEMU whose language is spoken; none where nothing is said.
    pub fn release(self) -> Option<Release> {
        match self {
            Spec::Qemu10 => Some(Release::V10_0_2),
            Spec::Qemu11 => Some(Release::V11_1_3),
            Spec::DataOnly => None,
        }
    }
}

/// The version alone: of another one nothing else can be understood.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Version {
    /// Its number.
    #[serde(rename = "midstream-history")]
    pub version: u64,
}

/// The header.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Header {
    /// The version of the form.
    #[serde(rename = "midstream-history")]
    pub version: u64,
    /// What it is to be judged by.
    pub spec: Spec,
    /// Whether a read beside a write may return a sector that is neither the old one nor the new one.
    #[serde(default)]
    pub torn_reads: bool,
    /// The images before the run.
    pub images: Vec<ImageForm>,
    /// Anything, for readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// An image before the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageForm {
    file: String,
    format: FormatForm,
    size_bytes: u64,
    #[serde(default = "default_cluster_bytes")]
    cluster_bytes: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    bitmaps: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    subclusters: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backing: Option<String>,
    #[serde(default)]
    own: Vec<OwnForm>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FormatForm {
    Raw,
    Qcow2,
}

/// Sectors that follow each other and that the image itself decides.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct OwnForm {
    sector: u64,
    values: Values,
}

/// QEMU's default.
fn default_cluster_bytes() -> u64 {
    65_536
}

impl ImageForm {
    /// The form of an image.
    pub fn of(image: &ImageSetup) -> ImageForm {
        let mut own: Vec<OwnForm> = Vec::new();
        for (sector, value) in image.own.iter().copied() {
            match own.last_mut() {
                Some(last) if last.sector + last.values.0.len() as u64 == sector => last.values.0.push(value),
                _ => own.push(OwnForm { sector, values: Values(vec![value]) }),
            }
        }
        ImageForm {
            file: image.file.clone(),
            format: if image.format == Format::Raw { FormatForm::Raw } else { FormatForm::Qcow2 },
            size_bytes: image.size_bytes,
            cluster_bytes: image.cluster_bytes,
            bitmaps: image.bitmaps,
            subclusters: image.subclusters,
            backing: image.backing.clone(),
            own,
        }
    }

    fn setup(&self) -> ImageSetup {
        let run = |own: &OwnForm| (own.sector..).zip(own.values.0.clone()).collect::<Vec<_>>();
        ImageSetup {
            file: self.file.clone(),
            format: if matches!(self.format, FormatForm::Raw) { Format::Raw } else { Format::Qcow2 },
            size_bytes: self.size_bytes,
            cluster_bytes: self.cluster_bytes,
            bitmaps: self.bitmaps,
            subclusters: self.subclusters,
            backing: self.backing.clone(),
            own: self.own.iter().flat_map(run).collect(),
        }
    }

    /// What is wrong with it: the field, and why.
    fn fault(&self) -> Option<(String, String)> {
        let fault = |field: &str, why: String| Some((field.to_owned(), why));
        if self.file.is_empty() || self.file.len() > NAME_BYTES_MAX {
            return fault("file", format!("a name has 1 to {NAME_BYTES_MAX} bytes"));
        }
        if self.backing.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
            return fault("backing", format!("a name has at most {NAME_BYTES_MAX} bytes"));
        }
        if self.size_bytes > SIZE_BYTES_MAX {
            return fault("size-bytes", format!("more than {SIZE_BYTES_MAX}"));
        }
        if !CLUSTER_BYTES.contains(&self.cluster_bytes) || !self.cluster_bytes.is_power_of_two() {
            return fault("cluster-bytes", "not a power of two from 512 to 2097152".to_owned());
        }
        let mut end = 0;
        for (index, own) in self.own.iter().enumerate() {
            let sectors = self.size_bytes.div_ceil(SECTOR_BYTES);
            let next = own.sector.checked_add(own.values.0.len() as u64);
            if own.sector < end {
                return fault(
                    &format!("own[{index}].sector"),
                    "runs come in order and do not overlap".to_owned(),
                );
            }
            match next.filter(|next| *next <= sectors) {
                Some(next) => end = next,
                None => return fault(&format!("own[{index}]"), format!("past the end, sector {sectors}")),
            }
        }
        None
    }
}

impl Header {
    /// The images, or the field that is wrong and why.
    pub fn setups(&self, spec: Spec) -> Result<Vec<ImageSetup>, (String, String)> {
        let wrong = |field: &str, why: String| Err((field.to_owned(), why));
        if self.images.is_empty() || self.images.len() > IMAGES_MAX {
            return wrong("images", format!("a run has 1 to {IMAGES_MAX} of them"));
        }
        let mut names = BTreeSet::new();
        let mut own = 0;
        for (index, image) in self.images.iter().enumerate() {
            if let Some((field, why)) = image.fault() {
                return wrong(&format!("images[{index}].{field}"), why);
            }
            if !names.insert(&image.file) {
                return wrong(&format!("images[{index}].file"), "two images have the same name".to_owned());
            }
            if spec == Spec::DataOnly && image.backing.is_some() {
                let why = "data-only knows of no chains: each image is a device of its own".to_owned();
                return wrong(&format!("images[{index}].backing"), why);
            }
            own += image.own.iter().map(|own| own.values.0.len()).sum::<usize>();
            if own > VALUES_MAX {
                return wrong("images", format!("more than {VALUES_MAX} values of their own in all"));
            }
        }
        Ok(self.images.iter().map(ImageForm::setup).collect())
    }
}
