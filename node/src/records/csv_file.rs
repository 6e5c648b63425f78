//! Recorded calls in CSV.

use super::{Mapping, Progress, Recording, Row, time};

pub fn read<Trunk: Copy>(
    recording: Recording,
    mapping: &Mapping,
    progress: &mut dyn Progress,
    trunk: impl Fn(&str) -> Result<Trunk, String>,
    mut each: impl FnMut(Row<Trunk>) -> Result<(), String>,
) -> Result<(), String> {
    let length = recording.length;
    progress.total(length);
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .buffer_capacity(1 << 18)
        // Lines end at \n alone, so that they are counted right; the \r of Windows is trimmed off the last field.
        .terminator(csv::Terminator::Any(b'\n'))
        .from_reader(recording.reader());
    let header = reader.byte_headers().map_err(|error| error.to_string())?.clone();
    if header.is_empty() {
        return Err(format!("the file is empty: its first line must be {}", super::COLUMNS.join(",")));
    }
    let names: Vec<String> = header
        .iter()
        .map(|name| String::from_utf8_lossy(name).trim_start_matches('\u{feff}').trim().to_owned())
        .collect();
    let places = mapping.places(&names)?;

    let mut record = csv::ByteRecord::new();
    let mut rows = 0u64;
    loop {
        let more = reader.read_byte_record(&mut record);
        if !more.map_err(|error| error.to_string())? {
            break;
        }
        let line = record.position().map_or(0, csv::Position::line);
        let at_line = |what: String| format!("line {line}: {what}");
        if record.len() == 1 && record[0].trim_ascii().is_empty() {
            continue;
        }
        if record.len() != names.len() {
            return Err(at_line(format!("{} fields where the header has {}", record.len(), names.len())));
        }
        let mut fields = [""; 6];
        for (field, place) in fields.iter_mut().zip(places) {
            let Some(place) = place else { continue };
            let text = std::str::from_utf8(&record[place]);
            *field = text.map_err(|_| at_line(format!("column \"{}\" is not UTF-8", names[place])))?.trim();
        }
        let [when, name, calling, presentation, called, redirecting] = fields;
        let time_ms = time::parse(when).ok_or_else(|| {
            at_line(format!(
                "time \"{when}\" is not a time: write 2026-03-02T12:00:00Z, or seconds since 1970"
            ))
        })?;
        let trunk = trunk(name).map_err(at_line)?;
        each(Row { time_ms, trunk, calling, presentation, called, redirecting }).map_err(at_line)?;
        rows += 1;
        if rows.is_multiple_of(8192) {
            progress.done(reader.position().byte());
        }
    }
    progress.done(length);
    Ok(())
}
