//! `qalqan journal query`: what was decided, when, by which rule and why.
//!
//! Segments and the logs behind them are read as one. Numbers are masked unless they are asked for in full; every such
//! look, and every search by a number, is itself written down in `looks.jsonl` beside the journal: who, when, what for.

mod found;
mod print;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use call::{Reason, Rule};
use exchange::Scorecard;
use journal::{NumbersKey, Sealed, Shown};
use numbering::Number;
use rules::Language;
use serde_json::{Value, json};

use crate::list_file::Untold;
use crate::loans::is_suspicious;
use crate::records::Progress;
use crate::store::bases::TrunkNames;
use crate::store::now_ms;
use crate::store::reading::{Reading, hidden};
use crate::store::rows;
use crate::store::shelf::Shelf;
use found::Names;

pub use found::Found;
pub use print::Form;

/// Where a journal is read.
pub struct Source {
    /// Logs, bases and looks; none: there are only segments.
    pub directory: Option<PathBuf>,
    /// Where segments lie.
    pub shelves: Vec<Shelf>,
    /// Those at hand.
    pub keys: Vec<NumbersKey>,
}

impl Source {
    /// The segments and logs of a directory, and of the store where its segments are taken.
    pub fn of_directory(
        directory: &Path,
        store: Option<&str>,
        keys: Vec<NumbersKey>,
    ) -> Result<Source, String> {
        if !directory.is_dir() {
            return Err(format!("journal {}: no such directory", directory.display()));
        }
        let mut shelves = vec![Shelf::Directory(segments_of(directory))];
        shelves.extend(store.map(Shelf::open).transpose()?);
        Ok(Source { directory: Some(directory.to_owned()), shelves, keys })
    }
}

/// The segments of a journal directory, or the directory itself where it is one of segments.
pub fn segments_of(directory: &Path) -> PathBuf {
    let within = directory.join("segments");
    if within.is_dir() { within } else { directory.to_owned() }
}

/// What is asked of the journal; everything left out matches.
#[derive(Default)]
pub struct Query {
    /// From this moment, and before that one; ms since 1970.
    pub from_ms: Option<i64>,
    pub until_ms: Option<i64>,
    /// Calling, presentation, called or redirecting number.
    pub number: Option<Number>,
    pub rule: Option<Rule>,
    /// allow, mark, withhold or block.
    pub verdict: Option<String>,
    pub trunk: Option<String>,
    pub limit: usize,
    /// Show every digit.
    pub reveal: bool,
}

/// Finds records, the newest last; more than the limit are cut at the old end.
pub fn query(
    source: Source,
    query: &Query,
    form: Form,
    language: Language,
    out: &mut impl Write,
) -> io::Result<()> {
    let directory = source.directory.clone();
    let (mut search, is_cut) = search(source, query, None)?;
    search.cut();
    if query.reveal || query.number.is_some() {
        note_look(directory.as_deref(), query, search.found.len()).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("this look cannot be written down, so nothing is shown: {error}"),
            )
        })?;
    }
    print::head(form, language, out)?;
    for found in &search.found {
        print::row(found, query.reveal, form, language, out)?;
    }
    let shown = search.found.len();
    if is_cut {
        eprintln!("more verdicts match; these are the newest {shown}: --limit shows more");
    } else if search.matched > shown {
        eprintln!("{} verdicts match; these are the newest {shown}: --limit shows more", search.matched);
    }
    Ok(())
}

/// What each trunk handed over by day, of the verdicts that match.
pub fn scorecard(source: Source, query: &Query) -> io::Result<Scorecard> {
    let mut card = Scorecard::default();
    let mut count = |found: &Found| card.count(found.time_ms, &found.trunk, &found.verdict);
    search(source, query, Some(Passing { each: &mut count, progress: &mut Untold }))?;
    Ok(card)
}

/// Every call of a time: from, and until; ms since 1970. Progress is in the records of segments.
pub fn calls(
    source: Source,
    (from_ms, until_ms): (Option<i64>, i64),
    progress: &mut dyn Progress,
    each: &mut dyn FnMut(&Found),
) -> io::Result<()> {
    let query = Query { from_ms, until_ms: Some(until_ms), limit: usize::MAX, ..Query::default() };
    search(source, &query, Some(Passing { each: &mut |found| each(found), progress })).map(drop)
}

/// A verdict that was asked for, and where it is sealed.
pub struct Chosen {
    /// None: in a log that no seal names yet.
    pub segment: Option<u64>,
    /// From 1, as `journal verify` counts.
    pub record: u64,
    pub decision: Value,
}

/// Verdicts that match, in the order of the journal.
pub fn choose(source: Source, query: &Query, language: Language) -> io::Result<Vec<Chosen>> {
    let (search, _) = search(source, query, None)?;
    let chosen = |found: &Found| Chosen {
        segment: (found.segment != u64::MAX).then_some(found.segment),
        record: found.place + 1,
        decision: print::as_json(found, query.reveal, language),
    };
    let mut all: Vec<Chosen> = search.found.iter().map(chosen).collect();
    all.sort_by_key(|chosen| (chosen.segment.unwrap_or(u64::MAX), chosen.record));
    Ok(all)
}

/// These records of a segment as whoever has these keys reads them; what cannot be read is not among them.
pub fn records_of(
    (n, sealed, bytes): (u64, &Sealed, &bytes::Bytes),
    keys: &[NumbersKey],
    wanted: &BTreeSet<u64>,
    (reveal, language): (bool, Language),
) -> BTreeMap<u64, Value> {
    let (names, mut hidden, mut place) = (Names::default(), hidden(sealed, keys), 0);
    let mut read = BTreeMap::new();
    // Why not is for `journal verify` to say.
    let _ = rows::read(bytes, &mut |cells, _| {
        if wanted.contains(&(place + 1))
            && let Some(found) = names.found(n, cells, place, &mut hidden)
        {
            read.insert(place + 1, print::as_json(&found, reveal, language));
        }
        place += 1;
        true
    });
    read
}

/// Reads the journal; says whether older records were left unread because the limit was reached.
fn search<'q>(
    source: Source,
    query: &'q Query,
    passing: Option<Passing<'q>>,
) -> io::Result<(Search<'q>, bool)> {
    let mut reading = Reading::open(source.directory.as_deref(), source.shelves)?;
    let mut search = Search { query, found: Vec::new(), matched: 0, blind: None, passing };
    let mut trunks = TrunkNames::new(source.directory.clone().unwrap_or_default());
    reading.logs(&source.keys, |record, closed| {
        if closed && query.number.is_some() {
            search.blind = Some("a log".to_owned());
        }
        let found = Found::of_record(&record, closed, &mut trunks);
        search.take(found, None);
    });
    let names = Names::default();
    let mut segments: Vec<(i64, u64)> = (reading.segments.iter())
        .filter_map(|(&n, (sealed, _))| {
            let last_ms = sealed.last_ms?;
            let is_apart =
                query.until_ms.is_some_and(|until| sealed.first_ms.is_some_and(|first| first >= until))
                    || query.from_ms.is_some_and(|from| last_ms < from);
            (!is_apart).then_some((last_ms, n))
        })
        .collect();
    segments.sort_unstable();
    search.all(segments.iter().map(|(_, n)| reading.segments[n].0.records).sum());
    let mut is_cut = false;
    let mut before = 0;
    for (last_ms, n) in segments.into_iter().rev() {
        let sealed = reading.segments[&n].0.clone();
        if search.is_full_of_newer(last_ms) {
            is_cut = true;
            break;
        }
        let Some(bytes) = reading.segment(n)? else { continue };
        let mut hidden = hidden(&sealed, &source.keys);
        if matches!(hidden, journal::Hidden::Closed) && query.number.is_some() {
            search.blind = Some(format!("segment {n}"));
            break;
        }
        let token = query.number.and_then(|number| hidden.token(number));
        let mut place = 0;
        let mut strange = 0;
        let outcome = rows::read(&bytes, &mut |cells, _| {
            if query.may_match(cells) {
                match names.found(n, cells, place, &mut hidden) {
                    Some(found) => search.take(found, token.as_deref()),
                    None => strange += 1,
                }
            }
            place += 1;
            if place.is_multiple_of(STEP) {
                search.done(before + place);
            }
            true
        });
        before += sealed.records;
        search.done(before);
        if strange > 0 {
            reading
                .complaints
                .push(format!("segment {n}: {strange} records cannot be read: journal verify says more"));
        }
        for what in outcome.err().unwrap_or_default() {
            reading.complaints.push(format!("segment {n}: {what}"));
        }
    }
    for complaint in &reading.complaints {
        eprintln!("{complaint}");
    }
    if let Some(place) = search.blind {
        return Err(io::Error::other(format!(
            "{place} hides its numbers, and their key is not at hand: name its directory, --keys DIR"
        )));
    }
    Ok((search, is_cut))
}

/// What was found so far.
struct Search<'q> {
    query: &'q Query,
    found: Vec<Found>,
    matched: usize,
    /// Something that a number cannot be looked for in.
    blind: Option<String>,
    passing: Option<Passing<'q>>,
}

/// Where verdicts are looked at in passing, not kept.
struct Passing<'p> {
    each: &'p mut dyn FnMut(&Found),
    progress: &'p mut dyn Progress,
}

/// Records between two words about progress.
const STEP: u64 = 8192;

impl Search<'_> {
    fn take(&mut self, found: Found, token: Option<&str>) {
        if self.query.matches(&found, token) {
            self.matched += 1;
            if let Some(passing) = &mut self.passing {
                return (passing.each)(&found);
            }
            self.found.push(found);
            // Keep memory small however much matches: sort and cut now and then.
            if self.found.len() >= self.query.limit.max(1024).saturating_mul(4) {
                self.cut();
            }
        }
    }

    /// How many records there are to read.
    fn all(&mut self, records: u64) {
        if let Some(passing) = &mut self.passing {
            passing.progress.total(records);
        }
    }

    fn done(&mut self, records: u64) {
        if let Some(passing) = &mut self.passing {
            passing.progress.done(records);
        }
    }

    /// Keeps the newest. Segments and logs overlap in time; a clock that went back leaves order to the journal.
    fn cut(&mut self) {
        self.found.sort_by_key(|found| (found.time_ms, found.segment));
        let cut = self.found.len().saturating_sub(self.query.limit);
        self.found.drain(..cut);
    }

    /// Whether the limit is reached by records all newer than this.
    fn is_full_of_newer(&mut self, last_ms: i64) -> bool {
        self.cut();
        self.found.len() >= self.query.limit
            && self.found.first().is_none_or(|oldest| oldest.time_ms > last_ms)
    }
}

/// Who looked at verdicts, when, and for what; the number itself stays masked here too.
fn note_look(directory: Option<&Path>, query: &Query, shown: usize) -> io::Result<()> {
    let what = json!({
        "number": query.number.map(|number| number.to_string()),
        "rule": query.rule.map(|rule| rule.id()),
        "trunk": query.trunk,
        "revealed": query.reveal,
        "records": shown,
    });
    note(directory, what)
}

/// Writes a look down beside the journal: who, when, what for.
pub fn note(directory: Option<&Path>, what: serde_json::Value) -> io::Result<()> {
    // Segments in a bucket have no directory beside them: the look is written down where who looks stands.
    let path = directory.unwrap_or(Path::new(".")).join("looks.jsonl");
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let mut line = json!({
        "time": jiff::Timestamp::from_millisecond(now_ms()).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string(),
        "who": user(),
        // SAFETY: asks for nothing but a number.
        "uid": unsafe { libc::getuid() },
    });
    if let (Some(line), serde_json::Value::Object(what)) = (line.as_object_mut(), what) {
        line.extend(what);
    }
    writeln!(file, "{line}")
}

/// Whose command this is, as far as his environment says.
pub fn user() -> String {
    std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "unknown".into())
}

/// Who was called by a number that was marked or blocked, from a moment on, and when; but where a number in `pardoned` was blocked
/// for standing on the block list. The error says whose numbers are closed.
pub fn suspects(
    source: &dyn Fn() -> Source,
    from_ms: i64,
    pardoned: &[Number],
) -> io::Result<Vec<(Number, i64)>> {
    let mut called = Vec::new();
    for verdict in ["mark", "block"] {
        let query = Query {
            from_ms: Some(from_ms),
            verdict: Some(verdict.to_owned()),
            limit: 1_000_000,
            ..Query::default()
        };
        let (search, _) = search(source(), &query, None)?;
        for found in search.found.iter().filter(|found| is_suspicious(found.verdict.treatment)) {
            let is_pardoned = found.verdict.reason == Reason::OnBlockList
                && found.numbers[..2].iter().any(|shown| is_one_of(shown, pardoned));
            if !is_pardoned {
                called.extend(open_number(&found.numbers[2])?.map(|number| (number, found.time_ms)));
            }
        }
    }
    Ok(called)
}

/// Whom a number called, from a moment on, whatever was decided, and when.
pub fn called_by(source: Source, number: Number, from_ms: i64) -> io::Result<Vec<(Number, i64)>> {
    let query = Query { from_ms: Some(from_ms), number: Some(number), limit: 1_000_000, ..Query::default() };
    let (search, _) = search(source, &query, None)?;
    let mut called = Vec::new();
    for found in &search.found {
        if found.numbers[..2].iter().any(|shown| is_one_of(shown, &[number])) {
            called.extend(open_number(&found.numbers[2])?.map(|number| (number, found.time_ms)));
        }
    }
    Ok(called)
}

fn is_one_of(shown: &Shown, numbers: &[Number]) -> bool {
    matches!(shown, Shown::Party(party) if party.number().is_some_and(|number| numbers.contains(&number)))
}

fn open_number(shown: &Shown) -> io::Result<Option<Number>> {
    match shown {
        Shown::Party(party) => Ok(party.number()),
        _ => Err(io::Error::other("the journal's numbers are hashed, or their key is not at hand")),
    }
}
