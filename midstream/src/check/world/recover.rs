//! What the next process finds, after a crash or a clean end: checks the images, opens them, reads all of each, and shows
//! it to the witness. Layers that are commanded are read by the chains that their own headers name.

use super::{Stop, open, plain, read_all};
use crate::content::Tag;
use crate::layer::{BlockLayer, Image};
use crate::scenario::Scenario;
use crate::witness::Witness;
use crate::witness::commanded::Left;
use crate::world::disk::{Disks, File};
use crate::world::host::SimHost;
use crate::world::scheduler::Scheduler;
use seam::IoResult;
use std::sync::Arc;

/// Who looks at files that nobody has open.
pub(in crate::check) struct Recovery<'a, L> {
    pub(in crate::check) layer: &'a Arc<L>,
    pub(in crate::check) scenario: &'a Scenario,
    pub(in crate::check) witness: &'a Witness,
}

impl<L: BlockLayer> Recovery<'_, L> {
    /// Looks at what a crash has left; false, if nobody can.
    pub(in crate::check) fn look_after_crash(&self, files: Vec<File>) -> bool {
        self.look(files, false).is_ok()
    }

    /// Looks at these files.
    pub(super) fn look(&self, files: Vec<File>, is_clean: bool) -> Result<(), Stop> {
        match self.scenario.is_commanded() {
            true => self.reopen_chains(files, is_clean),
            false => self.reopen(files, is_clean),
        }
    }

    /// A new host, as the next process would find it: checks the images, opens them, reads all of each.
    fn reopen(&self, files: Vec<File>, is_clean: bool) -> Result<(), Stop> {
        let host = SimHost::new(Disks::new(files));
        let mut scheduler = Scheduler::new(host.clone());
        let (layer, images) = (self.layer.clone(), self.scenario.plain_images());
        let found = plain(&mut scheduler, "reopen", async move {
            let mut checked = Vec::with_capacity(images.len());
            for image in &images {
                checked.push(layer.check(Arc::new(host.clone()), image).await);
            }
            (checked, show(&*layer, &host, &images).await)
        });
        let (checked, values) = found.map_err(Stop::Stuck)?;
        for (content, checked) in self.scenario.images.iter().zip(checked) {
            self.witness.checked(&content.image.path, checked, is_clean);
        }
        for (content, values) in self.scenario.images.iter().zip(values) {
            self.witness.found(&content.image.path, values, is_clean);
        }
        self.witness.over();
        Ok(())
    }

    /// A new host, as the next process would find it: checks the images, and reads each by the chain that headers name.
    fn reopen_chains(&self, files: Vec<File>, is_clean: bool) -> Result<(), Stop> {
        let host = SimHost::new(Disks::new(files));
        let mut scheduler = Scheduler::new(host.clone());
        let (layer, images) = (self.layer.clone(), self.scenario.plain_images());
        let found = plain(&mut scheduler, "reopen", async move {
            let linked = linked(&*layer, &host, images).await;
            let mut found = Vec::with_capacity(linked.len());
            for image in &linked {
                let checked = layer.check(Arc::new(host.clone()), image).await;
                let (chain, values) = read_chain(&*layer, &host, image, &linked).await;
                found.push(Left { file: image.path.clone(), chain, values, checked });
            }
            found
        });
        for left in found.map_err(Stop::Stuck)? {
            self.witness.left(left, is_clean);
        }
        self.witness.over();
        Ok(())
    }
}

/// What each image shows, or why nobody can open it.
async fn show<L: BlockLayer>(layer: &L, host: &SimHost, images: &[Image]) -> Vec<IoResult<Vec<Tag>>> {
    let devices = match open(layer, host, images).await {
        Ok(devices) => devices,
        Err(errno) => return vec![Err(errno); images.len()],
    };
    let mut values = Vec::with_capacity(images.len());
    for (device, image) in devices.iter().zip(images) {
        values.push(read_all(device, image.size_bytes).await);
    }
    values
}

/// The images, each on the one that its own file names.
async fn linked<L: BlockLayer>(layer: &L, host: &SimHost, images: Vec<Image>) -> Vec<Image> {
    let mut linked = Vec::with_capacity(images.len());
    for image in images {
        // What cannot say what it lies on cannot be opened either, and that is judged.
        let backing = layer.backing(Arc::new(host.clone()), &image).await.unwrap_or(None);
        linked.push(Image { backing, ..image });
    }
    linked
}

/// The files that an image is read through, and what readers of it see.
async fn read_chain<L: BlockLayer>(
    layer: &L,
    host: &SimHost,
    image: &Image,
    images: &[Image],
) -> (Vec<String>, Result<Vec<Tag>, String>) {
    let mut chain = vec![image.clone()];
    while let Some(path) = &chain[chain.len() - 1].backing {
        match images.iter().find(|below| below.path == *path) {
            Some(below) if chain.len() < images.len() => chain.push(below.clone()),
            Some(_) => return (names(&chain), Err("its chain has no end".to_owned())),
            None => return (names(&chain), Err(format!("its chain leads to {path}, which is not there"))),
        }
    }
    let names = names(&chain);
    chain.reverse();
    let values = match open(layer, host, &chain).await {
        Ok(devices) => read_all(&devices[devices.len() - 1], image.size_bytes).await,
        Err(errno) => Err(errno),
    };
    (names, values.map_err(|errno| errno.to_string()))
}

fn names(chain: &[Image]) -> Vec<String> {
    chain.iter().map(|image| image.path.clone()).collect()
}
