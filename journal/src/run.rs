//! Bytes that many short pieces are appended to.

/// A growing run of bytes. Pieces are copied a fixed number of bytes at a time, which costs a few instructions and no
/// call; what was copied too much is overwritten by the next piece.
#[derive(Default)]
pub struct Run {
    bytes: Vec<u8>,
    len: usize,
}

impl Run {
    /// Appends the first `len` bytes of a piece that has `N` bytes at least.
    #[inline(always)]
    pub fn put<const N: usize>(&mut self, piece: &[u8], len: usize) {
        if self.bytes.len() < self.len + N.max(len) {
            self.grow(N.max(len));
        }
        let place = &mut self.bytes[self.len..];
        let (first, rest) =
            piece.split_first_chunk::<N>().expect("a piece is as long as what is copied of it");
        place[..N].copy_from_slice(first);
        if len > N {
            place[N..len].copy_from_slice(&rest[..len - N]);
        }
        self.len += len;
    }

    /// Appends bytes of any length.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.put::<0>(bytes, bytes.len());
    }

    #[cold]
    fn grow(&mut self, by: usize) {
        let len = (2 * self.bytes.len()).max(self.len + by).max(256);
        self.bytes.resize(len, 0);
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn clear(&mut self) {
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn holds_what_was_put(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 0..40)) {
            let mut run = Run::default();
            for piece in &pieces {
                let mut padded = piece.clone();
                padded.resize(piece.len().max(32), 7);
                run.put::<32>(&padded, piece.len());
                run.extend(piece);
            }
            let plain: Vec<u8> = pieces.iter().flat_map(|piece| [piece.clone(), piece.clone()].concat()).collect();
            prop_assert_eq!(run.as_slice(), plain);
        }
    }
}
