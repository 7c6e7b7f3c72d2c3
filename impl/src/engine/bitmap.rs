//! `block-dirty-bitmap-*`.

use super::Engine;
use crate::error::Refused;
use crate::graph::Graph;

impl Engine {
    /// Changes bitmaps, between two requests: each write is recorded by the bitmaps of before or by those of after.
    pub async fn edit_bitmaps(
        &self,
        edit: impl FnOnce(&mut Graph) -> Result<(), Refused> + Send,
    ) -> Result<(), Refused> {
        let _alone = self.gate.drain().await;
        let ((), dropped) = self.try_edit(edit)?;
        assert!(dropped.is_empty(), "changing bitmaps drops {dropped:?}");
        Ok(())
    }
}
