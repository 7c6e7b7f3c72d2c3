//! Raw.
use crate::host::*;
use std::sync::Arc;
#[derive(Debug)]
pub struct Raw;
impl Raw {
    pub fn open(_d: Arc<dyn Disk>) -> IoResult<Arc<Raw>> {
        panic!()
    }
    pub fn len_bytes(&self) -> u64 {
        0
    }
    pub async fn read(&self, _o: u64, _b: &mut [u8]) -> IoResult<()> {
        Ok(())
    }
    pub async fn write(&self, _o: u64, _b: Vec<u8>) -> IoResult<()> {
        Ok(())
    }
    pub async fn write_zeroes(&self, _o: u64, _b: u64) -> IoResult<()> {
        Ok(())
    }
    pub async fn discard(&self, _o: u64, _b: u64) -> IoResult<()> {
        Ok(())
    }
    pub async fn flush(&self) -> IoResult<()> {
        Ok(())
    }
}
