//! A picture of the citizen's page: it is read or refused, in no more memory than is promised, and cut short no otherwise.
#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use face::{PictureFault, dimensions};
use libfuzzer_sys::fuzz_target;

/// docs/face.md.
const MOST_MEMORY: usize = 128 << 20;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST_HELD: AtomicUsize = AtomicUsize::new(0);

fn took(size: usize) {
    MOST_HELD.fetch_max(HELD.fetch_add(size, Ordering::Relaxed) + size, Ordering::Relaxed);
}

struct Counting;

// SAFETY: the system's allocator does the work; only lengths are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        took(size);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn read(bytes: &[u8]) -> Result<(usize, usize), PictureFault> {
    let before = HELD.load(Ordering::Relaxed);
    MOST_HELD.store(before, Ordering::Relaxed);
    let read = dimensions(bytes);
    let taken = MOST_HELD.load(Ordering::Relaxed) - before;
    assert!(taken <= MOST_MEMORY, "{taken} bytes of memory for {} bytes", bytes.len());
    match read {
        Ok((width, height)) => {
            assert!(width > 0 && height > 0 && width.max(height) <= 960, "{width} x {height}")
        }
        Err(fault) => {
            assert!(matches!(fault, PictureFault::NotAPicture | PictureFault::TooLarge), "{fault:?}")
        }
    }
    read
}

fuzz_target!(|data: &[u8]| {
    let whole = read(data);
    // Cut short, it is read no larger and refused for no other reason.
    if let Some((&n, rest)) = data.split_last()
        && whole.is_ok()
    {
        let _ = read(&rest[..rest.len() * usize::from(n) / 256]);
    }
    // With 20 MB behind it, it is refused unread.
    if data.first() == Some(&0) {
        assert_eq!(read(&[data, &vec![0; 20 << 20]].concat()), Err(PictureFault::TooLarge));
    }
});
