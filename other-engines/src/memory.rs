//! Memory that is the same in every run. qcow2-rs hands out buffers that nobody has written to yet; what they hold would be
//! what was last freed there, and one seed would have many histories.

use std::alloc::{GlobalAlloc, Layout, System};

/// What fresh memory holds: neither zeroes nor any content of a guest's.
const FRESH: u8 = 0xa5;

struct Same;

#[global_allocator]
static SAME: Same = Same;

// SAFETY: the system's allocator does the work; what it gives is filled within its bounds.
unsafe impl GlobalAlloc for Same {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            // SAFETY: there are so many bytes, and nobody else has them.
            unsafe { memory.write_bytes(FRESH, layout.size()) };
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }
}
