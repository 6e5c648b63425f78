//! Judging a call allocates nothing: a counting allocator sees to it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use bench::{corpus, judge};
use screening::screen;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands everything to the system allocator and counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn normalising_and_judging_allocate_nothing() {
    let policy = judge::policy(80_000);
    let pairs = corpus::pairs(7);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for pair in &pairs {
        let call = judge::intake(&policy, pair, 0);
        black_box(screen(&policy, &call));
    }
    let allocated = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert_eq!(allocated, 0, "{allocated} allocations in {} calls", pairs.len());
    // The counter counts: otherwise this test could not fail.
    drop(black_box(vec![0u8; 100]));
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > before);
}
