//! The images of a run: made with what they hold, taken as files, and as the data-only specification knows them.

use super::{SECTOR, open, plain};
use crate::content::{initial_tag, sectors_of};
use crate::layer::{BlockLayer, Device, Image};
use crate::scenario::{Content, Scenario};
use crate::witness::Resized;
use crate::world::disk::{Disks, File};
use crate::world::host::SimHost;
use crate::world::scheduler::Scheduler;
use model::{Format, ImageSetup};
use std::sync::Arc;

/// Makes the images and what they hold, the lowest first, in a world where nothing goes wrong.
pub(super) fn make<L: BlockLayer>(layer: &Arc<L>, scenario: &Scenario) -> Result<Vec<File>, String> {
    let empty = |content: &Content| File::new(&content.image.path, Vec::new());
    let host = SimHost::new(Disks::new(scenario.images.iter().map(empty).collect()));
    let mut scheduler = Scheduler::new(host.clone());
    for index in 0..scenario.images.len() {
        let images: Vec<Image> = scenario.plain_images().drain(..=index).collect();
        let (layer, host, content) = (layer.clone(), host.clone(), scenario.images[index].clone());
        let made = plain(&mut scheduler, "make", async move {
            layer.create(Arc::new(host.clone()), &images[index]).await?;
            let device = open(&*layer, &host, &images).await?.remove(index);
            for (first, count) in runs(&content.data) {
                let data = sectors_of(initial_tag(index as u32, 0) & !0xffff_ffff, first, count);
                device.write(first * SECTOR, data).await?;
            }
            device.close().await
        });
        made?.map_err(|errno| format!("{}: {errno}", scenario.images[index].image.path))?;
    }
    drop(scheduler);
    Ok(take_files(&host))
}

/// Stretches of data: first sector and how many.
fn runs(data: &[bool]) -> Vec<(u64, u64)> {
    let mut runs = Vec::new();
    let mut at = 0;
    for run in data.chunk_by(|a, b| a == b) {
        if run[0] {
            runs.push((at, run.len() as u64));
        }
        at += run.len() as u64;
    }
    runs
}

/// The files of a host, as durable as they can be.
pub(super) fn take_files(host: &SimHost) -> Vec<File> {
    let files = std::mem::take(&mut host.core().disks.files);
    files.into_iter().map(|file| File::new(&file.path, file.bytes)).collect()
}

/// The images that guests resize.
pub(super) fn resized(scenario: &Scenario) -> Resized {
    let mut resized = Resized::default();
    for (index, content) in
        scenario.images.iter().enumerate().filter(|(index, _)| scenario.is_resized(*index))
    {
        resized.add(&content.image.path, scenario.sectors_max(index));
    }
    resized
}

/// The images as the specification knows them: each a device of its own, with what its readers see.
pub(super) fn setups<L: BlockLayer>(scenario: &Scenario) -> Vec<ImageSetup> {
    let mut setups: Vec<ImageSetup> = Vec::with_capacity(scenario.images.len());
    for (index, Content { image, data, .. }) in scenario.images.iter().enumerate() {
        let below = image.backing.as_ref().and_then(|path| setups.iter().find(|below| below.file == *path));
        let through = |sector: u64| {
            let found = below?.own.iter().find(|(at, _)| *at == sector);
            found.map(|(_, value)| *value)
        };
        let own = (0..).zip(data).filter_map(|(sector, data)| {
            let value = if *data { Some(initial_tag(index as u32, sector)) } else { through(sector) };
            Some((sector, value?))
        });
        setups.push(ImageSetup {
            file: image.path.clone(),
            // The specification lets a device with a format of its own lose what was not flushed when it is killed.
            format: if L::SURVIVES_KILL { Format::Raw } else { Format::Qcow2 },
            size_bytes: image.size_bytes,
            cluster_bytes: SECTOR,
            bitmaps: false,
            subclusters: false,
            backing: None,
            own: own.collect(),
        });
    }
    setups
}
