//! Call records in CSV (RFC 4180): blocks of whole lines, each read by one thread, several at once.

use std::io::{self, Read};
use std::sync::Mutex;

use memchr::{memchr, memchr_iter, memrchr};

use super::super::fields::Cell;
use super::{CALLED, CALLING, Cells, Found, Intake, Look, Places, Source, threads};
use crate::records::{Progress, Recording};

const BLOCK: usize = 1 << 20;
/// A quoted field that goes on for longer is none.
const MOST: usize = 64 * BLOCK;

/// A file in blocks that each end with a line, which no quoted field goes beyond.
struct Blocks<'b> {
    input: Box<dyn Read + Send>,
    /// What was read behind the last block.
    rest: Vec<u8>,
    /// Of the next block, from 1.
    line: u64,
    bytes: u64,
    progress: &'b mut (dyn Progress + Send),
    /// The first line that could not be read, and why.
    failed: Option<(u64, String)>,
}

impl Blocks<'_> {
    /// Reads the next block into `block`, and says which line it begins with; none at the end.
    fn next(&mut self, block: &mut Vec<u8>) -> Result<Option<u64>, String> {
        block.clear();
        block.append(&mut self.rest);
        loop {
            let read = self.input.by_ref().take(BLOCK as u64).read_to_end(block);
            let is_over = read.map_err(|error: io::Error| error.to_string())? == 0;
            match whole_lines(block) {
                _ if is_over => break,
                Some(end) => {
                    self.rest.extend_from_slice(&block[end..]);
                    block.truncate(end);
                    break;
                }
                None if block.len() >= MOST => {
                    let line = self.line;
                    return Err(format!("line {line}: a line or a quoted field is longer than 64 MiB"));
                }
                None => {}
            }
        }
        let line = self.line;
        self.line += memchr_iter(b'\n', block).count() as u64;
        self.bytes += block.len() as u64;
        self.progress.done(self.bytes);
        Ok((!block.is_empty()).then_some(line))
    }
}

/// Where the last line ends that ends outside of quotes. A quote opens where a field begins; then a double one is a quote, a
/// single one closes; anywhere else it stands for itself.
fn whole_lines(block: &[u8]) -> Option<usize> {
    let (mut end, mut at) = (None, 0);
    loop {
        let quote = memchr(b'"', &block[at..]).map(|n| at + n);
        let open = &block[at..quote.unwrap_or(block.len())];
        end = memrchr(b'\n', open).map(|n| at + n + 1).or(end);
        let Some(quote) = quote else { return end };
        at = quote + 1;
        if quote > 0 && !matches!(block[quote - 1], b',' | b'\n') {
            continue;
        }
        loop {
            let Some(n) = memchr(b'"', &block[at..]) else { return end };
            at += n + 1;
            if block.get(at) != Some(&b'"') {
                break;
            }
            at += 1;
        }
    }
}

/// Finds the first `most` commas of a line.
fn commas(line: &[u8], places: &mut Vec<usize>, most: usize) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    places.clear();
    let mut words = line.chunks_exact(8);
    let mut at = 0;
    for word in &mut words {
        let other = u64::from_le_bytes(word.try_into().expect("eight")) ^ (ONES * u64::from(b','));
        // The top bit of every byte that is 0.
        let low = (other & (ONES * 0x7f)) + ONES * 0x7f;
        let mut found = !(low | other) & (ONES * 0x80);
        while found != 0 {
            places.push(at + found.trailing_zeros() as usize / 8);
            found &= found - 1;
        }
        if places.len() >= most {
            return;
        }
        at += 8;
    }
    places
        .extend(words.remainder().iter().enumerate().filter(|(_, byte)| **byte == b',').map(|(n, _)| at + n));
}

fn reader(bytes: &[u8]) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .flexible(true)
        .has_headers(false)
        .terminator(csv::Terminator::Any(b'\n'))
        .from_reader(bytes)
}

/// The names of the columns, and the line and the byte where what they name begins.
fn head(first: &[u8]) -> Result<(Vec<String>, u64, usize), String> {
    let mut head = reader(first);
    let mut record = csv::ByteRecord::new();
    head.read_byte_record(&mut record).map_err(|error| error.to_string())?;
    let name = |name: &[u8]| String::from_utf8_lossy(name).trim_start_matches('\u{feff}').trim().to_owned();
    Ok((record.iter().map(name).collect(), head.position().line(), head.position().byte() as usize))
}

/// Reads a file that lies in memory.
pub fn read_whole(source: &Source, file: &[u8], look: &Look) -> Result<Found, String> {
    let (names, line, byte) = head(file)?;
    let places = look.of(&source.places(&names)?);
    let mut rows = Rows { places, fields: names.len(), commas: Vec::new() };
    let mut intake = Intake::new(source, look);
    let read = rows.read(&file[byte..], line, &mut intake);
    read.map(|()| intake.found).map_err(|(line, what)| format!("line {line}: {what}"))
}

pub fn read(
    source: &Source,
    recording: Recording,
    progress: &mut (dyn Progress + Send),
    look: &Look,
) -> Result<(Places, Found), String> {
    progress.total(recording.length);
    let input = Box::new(recording.reader());
    let mut blocks = Blocks { input, rest: Vec::new(), line: 1, bytes: 0, progress, failed: None };
    let mut first = Vec::new();
    blocks.next(&mut first)?;
    let (names, line, byte) = head(&first)?;
    let places = source.places(&names)?;
    // The first block once more, without the line of names.
    blocks.rest.splice(..0, first[byte..].iter().copied());
    (blocks.line, blocks.bytes) = (line, byte as u64);

    let blocks = Mutex::new(blocks);
    let work = || {
        let mut rows = Rows { places: look.of(&places), fields: names.len(), commas: Vec::new() };
        let mut intake = Intake::new(source, look);
        let mut block = Vec::new();
        loop {
            let line = {
                let mut blocks = blocks.lock().expect("no panic inside");
                if blocks.failed.is_some() {
                    return intake.found;
                }
                match blocks.next(&mut block) {
                    Ok(Some(line)) => line,
                    Ok(None) => return intake.found,
                    Err(what) => {
                        blocks.failed = Some((blocks.line, what));
                        return intake.found;
                    }
                }
            };
            if let Err((line, what)) = rows.read(&block, line, &mut intake) {
                let mut blocks = blocks.lock().expect("no panic inside");
                // Others may be at work on lines before.
                if blocks.failed.as_ref().is_none_or(|(first, _)| line < *first) {
                    blocks.failed = Some((line, format!("line {line}: {what}")));
                }
            }
        }
    };
    let mut found = Found::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads()).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| found.add(&worker.join().expect("no panic inside")));
    });
    match blocks.into_inner().expect("no panic inside").failed {
        Some((_, what)) => Err(what),
        None => Ok((places, found)),
    }
}

/// Reads the lines of blocks.
struct Rows {
    places: Places,
    fields: usize,
    commas: Vec<usize>,
}

impl Rows {
    /// The error has its line.
    fn read(&mut self, block: &[u8], line: u64, intake: &mut Intake) -> Result<(), (u64, String)> {
        match std::str::from_utf8(block) {
            Ok(text) if memchr(b'"', block).is_none() => self.plain(text, line, intake),
            _ => self.quoted(block, line, intake),
        }
    }

    fn plain(&mut self, text: &str, first: u64, intake: &mut Intake) -> Result<(), (u64, String)> {
        let both = self.places.0[CALLING].max(self.places.0[CALLED]).map_or(0, |last| last + 1);
        let is_choosy = intake.look.concerns.is_some();
        for (n, line) in text.split_terminator('\n').enumerate() {
            if is_choosy {
                commas(line.as_bytes(), &mut self.commas, both);
                let field = |n: usize| self.places.0[n].map_or(Cell::None, |place| self.field(line, place));
                if self.commas.len() >= both && intake.passes_over(&field(CALLING), &field(CALLED)) {
                    continue;
                }
            }
            commas(line.as_bytes(), &mut self.commas, usize::MAX);
            let fields = self.commas.len() + 1;
            if fields != self.fields {
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Err((first + n as u64, self.uneven(fields)));
            }
            let cells = self.places.0.map(|place| place.map_or(Cell::None, |place| self.field(line, place)));
            intake.take(first + n as u64, &cells);
        }
        Ok(())
    }

    fn field<'l>(&self, line: &'l str, place: usize) -> Cell<'l> {
        let from = place.checked_sub(1).map_or(0, |before| self.commas[before] + 1);
        let until = self.commas.get(place).copied().unwrap_or(line.len());
        Cell::Text(line[from..until].trim())
    }

    /// Lines with quotes, and such as are no UTF-8.
    fn quoted(&mut self, block: &[u8], first: u64, intake: &mut Intake) -> Result<(), (u64, String)> {
        let mut reader = reader(block);
        let mut record = csv::ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(|error| (first, error.to_string()))? {
            if record.len() == 1 && record[0].trim_ascii().is_empty() {
                continue;
            }
            // Its place is that of the empty lines before it, where there are some.
            let line = record.position().map_or(first, |position| {
                let empty =
                    block[position.byte() as usize..].iter().take_while(|byte| **byte == b'\n').count();
                first + position.line() - 1 + empty as u64
            });
            if record.len() != self.fields {
                return Err((line, self.uneven(record.len())));
            }
            let cells: Cells =
                self.places.0.map(|place| match place.map(|place| std::str::from_utf8(&record[place])) {
                    Some(Ok(text)) => Cell::Text(text.trim()),
                    _ => Cell::None,
                });
            if !intake.passes_over(&cells[CALLING], &cells[CALLED]) {
                intake.take(line, &cells);
            }
        }
        Ok(())
    }

    fn uneven(&self, fields: usize) -> String {
        format!("{fields} fields where the header has {}", self.fields)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use numbering::Plan;
    use proptest::prelude::*;

    use super::*;

    static PLAN: LazyLock<Plan> =
        LazyLock::new(|| Plan::parse(include_str!("../../../../plans/kz.toml")).unwrap());

    proptest! {
        /// Read in two blocks, lines are what the library for CSV reads in one.
        #[test]
        fn blocks_end_where_lines_end(text in "[a,\"\n\r]{0,40}") {
            let all = |bytes: &[u8]| -> Vec<csv::ByteRecord> {
                reader(bytes).byte_records().map(|record| record.unwrap()).collect()
            };
            let end = whole_lines(text.as_bytes()).unwrap_or(0);
            let (first, second) = text.as_bytes().split_at(end);
            prop_assert_eq!([all(first), all(second)].concat(), all(text.as_bytes()));
        }

        /// What comes by HTTP may be anything: it is read or refused, and rows are never more than lines.
        #[test]
        fn whatever_comes_is_read_or_refused(
            rows in proptest::collection::vec(r#"[0-9+, a-z"\PC]{0,30}"#, 0..6),
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let look = Look::at_everything(&|_| {});
            let source = Source { files: &[], keys: None, map: &[], plan: &PLAN, since_ms: None, now_ms: i64::MAX };
            let mut file = b"start,calling,called\n".to_vec();
            file.extend_from_slice(rows.join("\n").as_bytes());
            file.extend_from_slice(&bytes);
            for file in [&file, &bytes] {
                if let Ok(found) = read_whole(&source, file, &look) {
                    let lines = memchr_iter(b'\n', file).count() as u64;
                    prop_assert!(found.records + found.without_number + found.future <= lines);
                }
            }
        }

        #[test]
        fn commas_are_found(line in "[a,\u{e4}-]{0,40}", most in 0usize..10) {
            let mut found = Vec::new();
            commas(line.as_bytes(), &mut found, usize::MAX);
            let all: Vec<usize> = line.match_indices(',').map(|(n, _)| n).collect();
            prop_assert_eq!(&found, &all);
            commas(line.as_bytes(), &mut found, most);
            prop_assert!(found.len() >= most.min(all.len()) && all.starts_with(&found));
        }
    }
}
