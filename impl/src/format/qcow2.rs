//! qcow2.
use super::*;
use crate::host::*;
use std::sync::Arc;
#[derive(Debug)]
pub struct Qcow2;
#[derive(Clone, Debug)]
pub struct BackingName {
    pub file: String,
    pub format: Option<String>,
}
impl Qcow2 {
    pub async fn open(_d: Arc<dyn Disk>, _n: &str, _w: bool) -> Result<Arc<Qcow2>, String> {
        panic!()
    }
    pub fn len_bytes(&self) -> u64 {
        0
    }
    pub fn cluster_bytes(&self) -> u64 {
        0
    }
    pub fn backing(&self) -> Option<BackingName> {
        None
    }
    pub async fn status(&self, _o: u64, _len: u64) -> IoResult<Run> {
        panic!()
    }
    pub async fn read(&self, _o: u64, _b: &mut [u8], _below: &dyn Below) -> IoResult<()> {
        Ok(())
    }
    pub async fn write(&self, _o: u64, _b: &[u8], _below: &dyn Below) -> IoResult<()> {
        Ok(())
    }
    pub async fn write_zeroes(&self, _o: u64, _b: u64, _below: &dyn Below) -> IoResult<()> {
        Ok(())
    }
    pub async fn discard(&self, _o: u64, _b: u64, _w: bool) -> IoResult<()> {
        Ok(())
    }
    pub async fn flush(&self) -> IoResult<()> {
        Ok(())
    }
    pub async fn change_backing(&self, _b: Option<BackingName>) -> IoResult<()> {
        Ok(())
    }
    pub async fn set_writable(&self, _b: bool) -> IoResult<()> {
        Ok(())
    }
}
