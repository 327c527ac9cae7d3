//! How often this process asks for memory, whichever allocator serves it: the binary counts by [`Counted`], `/metrics` tells.
//!
//! Every thread counts by itself and adds what it counted to the sum once in a while. One counter for all would be fought
//! over, more than a hundred times a message.

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

/// So many a thread keeps to itself at most, also when it ends.
const KEPT: u64 = 1_024;

static ADDED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Made with the thread and never dropped: counting asks for no memory itself.
    static COUNTED: Cell<u64> = const { Cell::new(0) };
}

/// An allocator whose allocations are counted. Memory that grows counts again.
#[derive(Debug)]
pub struct Counted<A>(pub A);

/// Allocations since the start, [`KEPT`] a thread too few at most.
pub(crate) fn allocations() -> u64 {
    ADDED.load(Ordering::Relaxed)
}

fn count() {
    COUNTED.with(|counted| {
        let now = counted.get() + 1;
        if now == KEPT {
            ADDED.fetch_add(now, Ordering::Relaxed);
        }
        counted.set(now % KEPT);
    });
}

#[expect(unsafe_code, reason = "the one way to be an allocator")]
// SAFETY: every call goes to the allocator inside as it came, and `count` neither allocates nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counted<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { self.0.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { self.0.dealloc(memory, layout) }
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::System;

    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "an allocator is asked as the compiler would")]
    fn each_request_for_memory_counts_once() {
        let (allocator, layout) = (Counted(System), Layout::new::<u64>());
        let before = allocations();
        for _ in 0..KEPT {
            // SAFETY: what is given back is what was given, with the layout that it has by then.
            unsafe {
                let memory = allocator.alloc(layout);
                let memory = allocator.realloc(memory, layout, 2 * layout.size());
                allocator.dealloc(memory, Layout::new::<[u64; 2]>());
            }
        }
        assert_eq!(allocations() - before, 2 * KEPT);
    }
}
