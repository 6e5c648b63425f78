//! Judging a call and keeping it allocates nothing: an allocator that counts by thread sees to it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use bench::{corpus, judge};
use screening::screen;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn allocations() -> u64 {
    ALLOCATIONS.get()
}

// SAFETY: hands everything to the system allocator and counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Gone while a thread ends; nobody measures then.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn keeping_a_record_with_its_numbers_encrypted_allocates_nothing() {
    let records = bench::journal::records(1000, 60_000_000, &bench::journal::hex_call_id);
    let mut bytes = vec![0u8; journal::HEADER_LEN + 1000 * journal::RECORD_LEN];
    let key = journal::NumbersKey::new([1; 32]);
    let mut log = journal::Log::begin(&mut bytes[..], 0, Some((&key, [2; 12])));
    let before = allocations();
    for record in &records {
        assert!(log.append(black_box(record)));
    }
    let allocated = allocations() - before;
    assert_eq!(allocated, 0, "{allocated} allocations in {} records", records.len());
}

#[test]
fn normalising_and_judging_allocate_nothing() {
    let policy = judge::policy(80_000);
    let pairs = corpus::pairs(7);
    let before = allocations();
    for pair in &pairs {
        let call = judge::intake(&policy, pair, 0);
        black_box(screen(&policy, &call));
    }
    let allocated = allocations() - before;
    assert_eq!(allocated, 0, "{allocated} allocations in {} calls", pairs.len());
    // The counter counts: otherwise this test could not fail.
    drop(black_box(vec![0u8; 100]));
    assert!(allocations() > before);
}
