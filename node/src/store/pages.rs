//! The encodings that the pages of a segment are written in, as the Parquet format describes them (Encodings.md).
//!
//! Written here because what is known of a column makes them cheap: which values come in it is counted already, and
//! most runs of lengths are all the same.

/// The hybrid of runs and packed bits, of values of `width` bits at most; by a run where all are the same.
pub fn hybrid(values: &[u32], width: u32, out: &mut Vec<u8>) {
    let Some((&first, rest)) = values.split_first() else { return };
    if rest.iter().all(|&value| value == first) {
        return run(first, values.len(), width, out);
    }
    let groups = values.len().div_ceil(8);
    varint((groups as u64) << 1 | 1, out);
    let end = out.len() + groups * width as usize;
    match width {
        0..=8 => {
            for group in values.chunks(8) {
                let packed = group.iter().rev().fold(0, |packed, &value| packed << width | u64::from(value));
                out.extend_from_slice(&packed.to_le_bytes()[..width as usize]);
            }
        }
        _ => pack(values.iter().map(|&value| u64::from(value)), width, out),
    }
    out.resize(end, 0);
}

/// One value many times.
pub fn run(value: u32, count: usize, width: u32, out: &mut Vec<u8>) {
    varint((count as u64) << 1, out);
    out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
}

/// Which values of a column are there: the definition levels of a page of the first version.
pub fn levels(there: &[u32], out: &mut Vec<u8>) {
    let at = out.len();
    out.extend([0; 4]);
    hybrid(there, 1, out);
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}

/// Definition levels of a page whose values are all there, or all not.
pub fn level(there: bool, count: usize, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend([0; 4]);
    run(u32::from(there), count, 1, out);
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}

/// PLAIN values of a column of true and false.
pub fn bits(values: &[u32], out: &mut Vec<u8>) {
    pack(values.iter().map(|&value| u64::from(value)), 1, out);
}

/// Bits that the numbers below `count` need.
pub fn width(count: usize) -> u32 {
    usize::BITS - count.saturating_sub(1).leading_zeros()
}

/// Values of `width` bits one after the other, from the lowest bit on; the last byte is filled with zeros.
fn pack(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    let (mut waiting, mut bits) = (0u128, 0);
    for value in values {
        waiting |= u128::from(value) << bits;
        bits += width;
        if bits >= 64 {
            out.extend_from_slice(&(waiting as u64).to_le_bytes());
            waiting >>= 64;
            bits -= 64;
        }
    }
    out.extend_from_slice(&(waiting as u64).to_le_bytes()[..bits.div_ceil(8) as usize]);
}

const BLOCK: usize = 128;
const MINIBLOCK: usize = 32;

/// DELTA_BINARY_PACKED.
pub fn deltas(values: &[i64], out: &mut Vec<u8>) {
    varint(BLOCK as u64, out);
    varint((BLOCK / MINIBLOCK) as u64, out);
    varint(values.len() as u64, out);
    let zigzag = |value: i64| (value << 1 ^ value >> 63) as u64;
    varint(zigzag(values.first().copied().unwrap_or(0)), out);
    let mut deltas = [0i64; BLOCK];
    let mut from = 0;
    while from + 1 < values.len() {
        let block = &values[from..values.len().min(from + BLOCK + 1)];
        if block.iter().all(|value| *value == block[0]) {
            // Least difference 0, no bits.
            out.extend([0; 1 + BLOCK / MINIBLOCK]);
            from += block.len() - 1;
            continue;
        }
        let deltas = &mut deltas[..block.len() - 1];
        for (delta, pair) in deltas.iter_mut().zip(block.windows(2)) {
            *delta = pair[1].wrapping_sub(pair[0]);
        }
        let least = deltas.iter().copied().min().unwrap_or(0);
        varint(zigzag(least), out);
        let widths_at = out.len();
        out.extend([0; BLOCK / MINIBLOCK]);
        for (n, miniblock) in deltas.chunks(MINIBLOCK).enumerate() {
            let above = |delta: &i64| delta.wrapping_sub(least) as u64;
            let width = u64::BITS - miniblock.iter().map(above).fold(0, |all, one| all | one).leading_zeros();
            out[widths_at + n] = width as u8;
            let end = out.len() + MINIBLOCK / 8 * width as usize;
            pack(miniblock.iter().map(above), width, out);
            out.resize(end, 0);
        }
        from += block.len() - 1;
    }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
