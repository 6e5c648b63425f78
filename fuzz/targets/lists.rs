//! A header line with several values: splitting loses nothing but separators, and splitting again changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::each_value;

fuzz_target!(|line: &[u8]| {
    let values: Vec<&[u8]> = each_value(line).collect();
    let mut end = 0;
    for value in &values {
        let start = value.as_ptr() as usize - line.as_ptr() as usize;
        assert!(start >= end && !value.is_empty());
        assert!(
            line[end..start].iter().all(|byte| *byte == b',' || byte.is_ascii_whitespace()),
            "lost bytes"
        );
        end = start + value.len();
    }
    assert!(
        line[end..].iter().all(|byte| *byte == b',' || byte.is_ascii_whitespace()),
        "lost bytes at the end"
    );
    let joined = values.join(&b","[..]);
    assert!(each_value(&joined).eq(values.iter().copied()), "values change when split again");
});
