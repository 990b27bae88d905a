//! The allocator.
//!
//! Small blocks come in [`CLASSES`] sizes, at most a quarter larger than asked for beyond 128 bytes.
//! A freed one goes to its class's list and is handed out again; the lists are refilled from chunks
//! that are never unmapped. Blocks of [`LARGE`] bytes and more are mappings of their own: freeing
//! one returns it to the system, growing one moves page tables instead of bytes.
//!
//! ```text
//! size     1..=16  ..=32  ..=48 .. ..=128 | ..=160 ..=192 ..=224 ..=256 | ..=320 .. | .. ..=131072 | larger
//! class         0      1      2         7 |      8      9     10     11 |     12    |           47 | own mapping
//! ```
//!
//! So memory stays at the high-water mark of each class, whatever the number of allocations.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;

use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap_anonymous, mremap, munmap};

/// The allocator of a process that has one thread.
pub struct Heap(UnsafeCell<Lists>);

// SAFETY: a static needs `Sync`, that is, shared access from several threads. The process has one
// thread: the kernel starts it with one, and neither this crate nor the launcher library makes
// another (no clone system call with CLONE_VM; forked children have their own copy). Signal handlers do not allocate.
unsafe impl Sync for Heap {}

impl Heap {
    /// An empty heap. It maps nothing before the first allocation.
    pub const fn new() -> Self {
        Self(UnsafeCell::new(Lists { free: [ptr::null_mut(); CLASSES], chunk: ptr::null_mut(), left: 0 }))
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: a block handed out is either a mapping of its own or one element of a class, at least as
// large as asked for; it is not handed out again before it has been freed. `Placement` decides by
// the layout alone, so a block goes back to where it came from. Nothing here panics or unwinds.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match Placement::of(layout) {
            // SAFETY: one thread, and `take` calls nothing that could come back here: no other reference exists.
            Placement::Class(class) => unsafe { &mut *self.0.get() }.take(class),
            Placement::Mapping => map(layout.size()),
            Placement::Impossible => ptr::null_mut(),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise for this function is that of `alloc`.
        let block = unsafe { self.alloc(layout) };
        // New mappings are zero already.
        if !block.is_null() && matches!(Placement::of(layout), Placement::Class(_)) {
            // SAFETY: `alloc` returned a block of at least this size.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match Placement::of(layout) {
            // SAFETY: for the reference as in `alloc`; the block is of this class because `alloc` placed it by
            // the same layout, and its owner gives it up.
            Placement::Class(class) => unsafe { (*self.0.get()).put(class, block) },
            // SAFETY: the block is a whole mapping of this size, and its owner gives it up. It can only fail for
            // want of memory in the kernel; then the mapping leaks.
            Placement::Mapping => _ = unsafe { munmap(block.cast(), layout.size()) },
            Placement::Impossible => {}
        }
    }

    unsafe fn realloc(&self, block: *mut u8, old: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `new_size`, rounded up to the alignment, does not overflow `isize`.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, old.align()) };
        match (Placement::of(old), Placement::of(new)) {
            (Placement::Class(a), Placement::Class(b)) if a == b => block,
            (Placement::Mapping, Placement::Mapping) => {
                // SAFETY: the block is a whole mapping of the old size, and its owner uses only the result from now
                // on. On failure the old mapping is untouched, as `realloc` has to leave it.
                let moved = unsafe { mremap(block.cast(), old.size(), new.size(), MremapFlags::MAYMOVE) };
                moved.map_or_else(|_| exhausted(), |moved| moved.cast())
            }
            _ => {
                // SAFETY: the new size is not zero: the caller promises it.
                let moved = unsafe { self.alloc(new) };
                if !moved.is_null() {
                    // SAFETY: two different blocks, each at least as large as the smaller of the two sizes.
                    unsafe { moved.copy_from_nonoverlapping(block, old.size().min(new.size())) };
                    // SAFETY: the caller gives up the old block, which has the old layout.
                    unsafe { self.dealloc(block, old) };
                }
                moved
            }
        }
    }
}

/// Blocks of this size and more are mapped by themselves.
pub const LARGE: usize = 128 << 10;

/// The number of sizes that small blocks come in.
pub const CLASSES: usize = 48;

/// What chunks are mapped by. Pages that nothing has touched cost address space only.
const CHUNK: usize = 1 << 20;

/// What every block of a class is aligned to: all class sizes are multiples of it, and chunks begin on a page.
const ALIGN: usize = 16;

/// The smallest page size of Linux. Mappings are aligned to at least this.
const PAGE: usize = 4096;

/// Where a block lives. Decided by its layout, so that nothing has to be stored beside it.
#[derive(Clone, Copy)]
enum Placement {
    /// In a chunk, as a block of this class.
    Class(usize),
    /// By itself. Also for alignments that classes do not give, which are rare.
    Mapping,
    /// An alignment beyond a page.
    Impossible,
}

impl Placement {
    fn of(layout: Layout) -> Self {
        if layout.align() > PAGE {
            Self::Impossible
        } else if layout.align() > ALIGN || layout.size() >= LARGE {
            Self::Mapping
        } else {
            Self::Class(class_of(layout.size()))
        }
    }
}

/// The class of blocks with `size` bytes, which is below [`LARGE`].
///
/// Steps of 16 up to 128; beyond, four steps to every doubling.
fn class_of(size: usize) -> usize {
    let last = size.max(1) - 1;
    if last < 128 {
        return last / 16;
    }
    let doubling = last.ilog2() as usize;
    // The three highest bits: 4..8.
    let quarter = last >> (doubling - 2);
    8 + (doubling - 7) * 4 + (quarter - 4)
}

/// How large the blocks of a class are. A multiple of [`ALIGN`].
fn size_of_class(class: usize) -> usize {
    if class < 8 {
        return (class + 1) * 16;
    }
    let (doubling, quarter) = (7 + (class - 8) / 4, 4 + (class - 8) % 4);
    (quarter + 1) << (doubling - 2)
}

/// The small blocks that are free.
struct Lists {
    /// Per class, the first free block. Each begins with the address of the next.
    free: [*mut Free; CLASSES],
    /// The part of the newest chunk that was never handed out: its start, a multiple of [`ALIGN`].
    chunk: *mut u8,
    /// ... and its length in bytes.
    left: usize,
}

/// The beginning of a free block.
struct Free {
    next: *mut Free,
}

impl Lists {
    /// A block of `class`, or null when there is none to be had.
    fn take(&mut self, class: usize) -> *mut u8 {
        // `get` rather than an index: a class is always in range, and a panic in here could not report itself.
        let Some(first) = self.free.get_mut(class) else { return ptr::null_mut() };
        if !first.is_null() {
            let block = *first;
            // SAFETY: blocks on a list are free, valid for their class's size, and begin with the next address.
            *first = unsafe { block.read() }.next;
            return block.cast();
        }
        let size = size_of_class(class);
        if self.left < size {
            let chunk = map(CHUNK);
            if chunk.is_null() {
                return chunk;
            }
            // What is left of the old chunk is given up: less than one block, mostly never touched.
            (self.chunk, self.left) = (chunk, CHUNK);
        }
        let block = self.chunk;
        // SAFETY: `left` bytes follow and `size` is no more than that.
        self.chunk = unsafe { block.add(size) };
        self.left -= size;
        block
    }

    /// Takes a block of `class` back.
    ///
    /// # Safety
    ///
    /// The block must come from `take(class)` of this heap, and nobody may use it any more.
    unsafe fn put(&mut self, class: usize, block: *mut u8) {
        let Some(first) = self.free.get_mut(class) else { return };
        let block: *mut Free = block.cast();
        // SAFETY: the block has at least 16 bytes, is aligned to 16, and by the caller's promise is ours again.
        unsafe { block.write(Free { next: *first }) };
        *first = block;
    }
}

/// A new mapping of `size` bytes, all zero; what [`exhausted`] gives where there is none to be had.
fn map(size: usize) -> *mut u8 {
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists.
    let mapping =
        unsafe { mmap_anonymous(ptr::null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
    mapping.map_or_else(|_| exhausted(), |mapping| mapping.cast())
}

/// The system has no more memory, and nobody in this program goes on without: that is told here, where it is known.
#[cfg(not(test))]
#[cold]
fn exhausted() -> *mut u8 {
    crate::panic::write(b"pspf: out of memory\n");
    crate::exit(EXIT_REFUSED)
}

/// Tests have an allocator of their own, and go on.
#[cfg(test)]
fn exhausted() -> *mut u8 {
    ptr::null_mut()
}

/// The exit code where the operating system refused something (docs/format.md, section 4.7).
#[cfg(not(test))]
const EXIT_REFUSED: i32 = 106;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_fit_what_they_hold_and_waste_little() {
        for size in 1..LARGE {
            let class = class_of(size);
            let block = size_of_class(class);
            assert!(class < CLASSES && block >= size && block.is_multiple_of(ALIGN), "{size}: {class}, {block}");
            assert!(block < size + 16 || block * 4 <= size * 5 + 4, "{size} bytes in a block of {block}");
            assert!(class == 0 || size_of_class(class - 1) < size, "{size} would fit a smaller class");
        }
        assert_eq!(class_of(LARGE - 1), CLASSES - 1);
        assert_eq!(size_of_class(CLASSES - 1), LARGE);
    }

    #[test]
    fn blocks_hold_their_bytes_whatever_happens_around_them() {
        let heap = Heap::new();
        let mut random = 1_u64;
        let mut live: Vec<Block<'_>> = Vec::new();
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pick = (random >> 33) as usize;
            // Mostly small, a few large, as programs are.
            let size = if pick.is_multiple_of(50) { pick % 400_000 } else { pick % 3000 } + 1;
            match pick / 7 % 5 {
                0 | 1 => live.push(Block::new(&heap, size, 1 << (pick / 31 % 5), false)),
                2 => live.push(Block::new(&heap, size, 1, true)),
                3 if !live.is_empty() => {
                    let block = pick % live.len();
                    live[block].resize(size);
                }
                _ if !live.is_empty() => drop(live.swap_remove(pick % live.len())),
                _ => {}
            }
        }
    }

    #[test]
    fn freed_memory_is_used_again() {
        let heap = Heap::new();
        // What extracting a file does, a hundred thousand times: names, a growing buffer, a large one.
        for _ in 0..100_000 {
            let name = Block::new(&heap, 70, 1, false);
            let mut buffer = Block::new(&heap, 64, 1, false);
            for size in [128, 1024, 8192, 65_536] {
                buffer.resize(size);
            }
            drop((name, buffer));
        }
        let lists = heap.0.into_inner();
        assert!(lists.left > CHUNK - (128 << 10), "{} bytes of the first chunk are used", CHUNK - lists.left);
    }

    #[test]
    fn large_blocks_grow_without_losing_bytes_and_go_back() {
        let heap = Heap::new();
        let mut block = Block::new(&heap, LARGE, 1, false);
        for size in [LARGE + 1, 3 << 20, 40 << 20, 200_000, LARGE, 10, LARGE] {
            block.resize(size);
        }
        let address = block.start.addr();
        drop(block);
        let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux has it");
        assert!(!maps.contains(&format!("{address:x}-")), "the mapping at {address:x} is still there");
    }

    #[test]
    fn alignment_up_to_a_page_is_given_and_beyond_is_refused() {
        let heap = Heap::new();
        for align in [1, 16, 32, 64, 4096] {
            for size in [1, 100, 5000, 200_000] {
                drop(Block::new(&heap, size, align, false));
            }
        }
        let layout = Layout::from_size_align(16, 8192).expect("a valid layout");
        // SAFETY: the size is not zero.
        assert!(unsafe { heap.alloc(layout) }.is_null());
    }

    #[test]
    fn what_the_system_does_not_have_is_null() {
        let heap = Heap::new();
        let layout = Layout::from_size_align(1 << 50, 8).expect("a valid layout");
        // SAFETY: the size is not zero.
        assert!(unsafe { heap.alloc(layout) }.is_null());
    }

    /// An allocation filled with a byte of its own, checked when it is resized and freed.
    struct Block<'a> {
        heap: &'a Heap,
        start: *mut u8,
        layout: Layout,
        mark: u8,
    }

    impl<'a> Block<'a> {
        fn new(heap: &'a Heap, size: usize, align: usize, zeroed: bool) -> Self {
            let layout = Layout::from_size_align(size, align).expect("a valid layout");
            // SAFETY: no test asks for zero bytes.
            let start = unsafe { if zeroed { heap.alloc_zeroed(layout) } else { heap.alloc(layout) } };
            assert!(!start.is_null() && start.addr().is_multiple_of(align));
            let block = Self { heap, start, layout, mark: (size ^ start.addr() >> 4) as u8 };
            assert!(!zeroed || block.bytes().iter().all(|&byte| byte == 0));
            block.fill();
            block
        }

        fn resize(&mut self, size: usize) {
            let kept = self.layout.size().min(size);
            // SAFETY: the block is live and has this layout; no test asks for zero bytes.
            self.start = unsafe { self.heap.realloc(self.start, self.layout, size) };
            assert!(!self.start.is_null());
            self.layout = Layout::from_size_align(size, self.layout.align()).expect("a valid layout");
            assert!(self.bytes()[..kept].iter().all(|&byte| byte == self.mark));
            self.fill();
        }

        fn fill(&self) {
            // SAFETY: the block is live and this large.
            unsafe { self.start.write_bytes(self.mark, self.layout.size()) };
        }

        fn bytes(&self) -> &[u8] {
            // SAFETY: the block is live, this large, and initialised by `fill` or by the heap (`alloc_zeroed`, `realloc`).
            unsafe { std::slice::from_raw_parts(self.start, self.layout.size()) }
        }
    }

    impl Drop for Block<'_> {
        fn drop(&mut self) {
            assert!(self.bytes().iter().all(|&byte| byte == self.mark));
            // SAFETY: the block is live, has this layout, and is not used again.
            unsafe { self.heap.dealloc(self.start, self.layout) };
        }
    }
}
