//! How much memory some work takes: an allocator that counts, for each thread apart.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What `work` gives, and how many more bytes than before were in use at once in this thread while it ran.
pub(crate) fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = IN_USE.get();
    PEAK.set(before);
    let done = work();
    (done, (PEAK.get() - before).unsigned_abs())
}

thread_local! {
    // What a thread gives back may be another one's, so that it can be less than nothing.
    static IN_USE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Watching;

// SAFETY: every call goes to the system's allocator as it came. The counters need neither an allocation nor a destructor.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let in_use = IN_USE.get() + layout.size().cast_signed();
        IN_USE.set(in_use);
        PEAK.set(PEAK.get().max(in_use));
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        IN_USE.set(IN_USE.get() - layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static WATCHING: Watching = Watching;
