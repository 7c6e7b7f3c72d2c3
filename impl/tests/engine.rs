//! The engine's tests in one program: what they share is built once, not once for each file. Those that measure the memory
//! of their whole process are programs of their own.

mod active_commit;
mod backup;
mod backup_bitmaps;
mod commit;
mod conflicts;
mod data_path;
mod described_names;
mod mirror;
mod opened_at_once;
mod qcow2_bitmaps;
mod qcow2_concurrent;
mod qcow2_content;
mod qcow2_crash;
mod qcow2_damage;
mod qcow2_data_file;
mod qcow2_packed;
mod qcow2_parity;
mod qcow2_qemu;
mod qcow2_repair;
mod qcow2_resize;
mod qcow2_snapshots;
mod reopen;
mod restless_guests;
mod snapshot;
mod support;
