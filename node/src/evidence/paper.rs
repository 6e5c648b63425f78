//! Pages of A4 with headings, paragraphs and tables, as a PDF whose letters can be read, searched and copied.
//!
//! The same calls give the same bytes. A letter has a number of its own in each font, whatever glyph it shares, so that what is
//! copied out of the page is what was written into it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use pdf_writer::types::{CidFontType, FontFlags, SystemInfo, UnicodeCmap};
use pdf_writer::{Content, Date, Finish, Name, Pdf, Rect, Ref, Str, TextStr};
use subsetter::GlyphRemapper;
use ttf_parser::Face;

use super::explain_io;

const WIDTH: f32 = 595.0;
const HEIGHT: f32 = 842.0;
const MARGIN: f32 = 48.0;
/// Of text and tables; a line is this much higher.
const SIZE: f32 = 8.5;
const LINE: f32 = 1.35;
/// Around what stands in a cell.
const PAD: f32 = 3.0;
/// Letters that not every font with Cyrillic has.
const KAZAKH: &str = "ӘәҒғҚқҢңӨөҰұҮүҺһІі";
const IDENTITY: SystemInfo =
    SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

/// A font at hand.
pub struct Font {
    path: PathBuf,
    data: Vec<u8>,
}

impl Font {
    /// Reads a TrueType font that Kazakh can be written in; the error says how to get one.
    pub fn read(path: &Path) -> Result<Font, String> {
        let other = "install fonts-dejavu-core, or name another: [evidence] font, font-bold";
        let said = |what: &str| format!("font {}: {what}: {other}", path.display());
        let font =
            Font { path: path.to_owned(), data: fs::read(path).map_err(|error| said(&explain_io(&error)))? };
        let face = Face::parse(&font.data, 0).map_err(|error| said(&error.to_string()))?;
        if face.tables().glyf.is_none() {
            return Err(said("it has no TrueType outlines"));
        }
        match KAZAKH.chars().find(|letter| face.glyph_index(*letter).is_none()) {
            Some(letter) => Err(said(&format!("it has no {letter}"))),
            None => Ok(font),
        }
    }
}

/// A font, and the letters that were written in it.
struct Letters<'f> {
    font: &'f Font,
    face: Face<'f>,
    /// From 1, in the order of writing.
    numbers: HashMap<char, u16>,
    written: Vec<char>,
}

impl<'f> Letters<'f> {
    fn new(font: &'f Font) -> Letters<'f> {
        let face = Face::parse(&font.data, 0).expect("it was parsed when it was read");
        Letters { font, face, numbers: HashMap::new(), written: Vec::new() }
    }

    /// In thousandths of the size.
    fn advance(&self, letter: char) -> f32 {
        let glyph = self.face.glyph_index(letter).unwrap_or_default();
        let advance = f32::from(self.face.glyph_hor_advance(glyph).unwrap_or_default());
        advance * 1000.0 / f32::from(self.face.units_per_em())
    }

    fn width(&self, text: &str, size: f32) -> f32 {
        text.chars().map(|letter| self.advance(letter)).sum::<f32>() * size / 1000.0
    }

    /// Lines of a width: broken at spaces, and within words that are longer.
    fn wrap(&self, text: &str, width: f32, size: f32) -> Vec<String> {
        let mut lines = Vec::new();
        for paragraph in text.split('\n') {
            let mut line = String::new();
            for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
                let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
                if self.width(&longer, size) <= width {
                    line = longer;
                    continue;
                }
                if !line.is_empty() {
                    lines.push(std::mem::take(&mut line));
                }
                for letter in word.chars() {
                    line.push(letter);
                    if self.width(&line, size) > width && line.chars().nth(1).is_some() {
                        line.pop();
                        lines.push(std::mem::replace(&mut line, letter.to_string()));
                    }
                }
            }
            lines.push(line);
        }
        lines
    }

    fn encode(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(text.len() * 2);
        for letter in text.chars() {
            let letter = if letter.is_control() { ' ' } else { letter };
            let next = self.written.len() as u16 + 1;
            let number = *self.numbers.entry(letter).or_insert_with(|| {
                self.written.push(letter);
                next
            });
            bytes.extend(number.to_be_bytes());
        }
        bytes
    }

    /// Writes what is used of the font, from a reference on; six are taken.
    fn embed(&self, pdf: &mut Pdf, first: i32) -> Result<(), String> {
        let [id, cid, descriptor, data, map, unicode] = [0, 1, 2, 3, 4, 5].map(|n| Ref::new(first + n));
        let mut glyphs = GlyphRemapper::new();
        let mut places = vec![0, 0];
        for letter in &self.written {
            let glyph = self.face.glyph_index(*letter).unwrap_or_default();
            places.extend(glyphs.remap(glyph.0).to_be_bytes());
        }
        let subset = subsetter::subset(&self.font.data, 0, &glyphs)
            .map_err(|error| format!("font {}: {error}", self.font.path.display()))?;
        let name = format!("QALQAN+Font{first}");
        let name = Name(name.as_bytes());
        pdf.type0_font(id)
            .base_font(name)
            .encoding_predefined(Name(b"Identity-H"))
            .descendant_font(cid)
            .to_unicode(unicode);
        let mut font = pdf.cid_font(cid);
        font.subtype(CidFontType::Type2).base_font(name).system_info(IDENTITY).font_descriptor(descriptor);
        font.default_width(0.0).cid_to_gid_map_stream(map);
        font.widths().consecutive(1, self.written.iter().map(|letter| self.advance(*letter)));
        font.finish();
        let scale = 1000.0 / f32::from(self.face.units_per_em());
        let of = |units: i16| f32::from(units) * scale;
        let bounds = self.face.global_bounding_box();
        pdf.font_descriptor(descriptor)
            .name(name)
            .flags(FontFlags::NON_SYMBOLIC)
            .bbox(Rect::new(of(bounds.x_min), of(bounds.y_min), of(bounds.x_max), of(bounds.y_max)))
            .italic_angle(0.0)
            .ascent(of(self.face.ascender()))
            .descent(of(self.face.descender()))
            .cap_height(of(self.face.capital_height().unwrap_or(self.face.ascender())))
            .stem_v(80.0)
            .font_file2(data);
        pdf.stream(data, &subset);
        pdf.stream(map, &places);
        let mut cmap = UnicodeCmap::<u16>::new(Name(b"Letters"), IDENTITY);
        self.written.iter().zip(1..).for_each(|(letter, number)| cmap.pair(number, *letter));
        pdf.cmap(unicode, &cmap.finish());
        Ok(())
    }
}

/// What a document says of itself.
pub struct About<'a> {
    pub title: &'a str,
    /// ISO 639-1.
    pub language: &'a str,
    pub time: jiff::Timestamp,
    /// At the foot of each page, before its number.
    pub foot: &'a str,
}

const REGULAR: usize = 0;
const BOLD: usize = 1;

/// A document in the making.
pub struct Paper<'f> {
    letters: [Letters<'f>; 2],
    pages: Vec<Content>,
    /// Where the next line goes, from the page's foot.
    y: f32,
}

impl<'f> Paper<'f> {
    pub fn new(regular: &'f Font, bold: &'f Font) -> Paper<'f> {
        let letters = [Letters::new(regular), Letters::new(bold)];
        Paper { letters, pages: vec![Content::new()], y: HEIGHT - MARGIN }
    }

    fn page(&mut self) {
        self.pages.push(Content::new());
        self.y = HEIGHT - MARGIN;
    }

    fn keep(&mut self, height: f32) {
        if self.y - height < MARGIN + SIZE {
            self.page();
        }
    }

    fn write(&mut self, page: usize, font: usize, size: f32, (x, y): (f32, f32), text: &str) {
        let bytes = self.letters[font].encode(text);
        let name = Name(if font == BOLD { b"B" } else { b"R" });
        let content = &mut self.pages[page];
        content.begin_text().set_font(name, size).next_line(x, y).show(Str(&bytes)).end_text();
    }

    fn lines(&mut self, font: usize, size: f32, text: &str) {
        for line in self.letters[font].wrap(text, WIDTH - 2.0 * MARGIN, size) {
            self.keep(size * LINE);
            self.y -= size * LINE;
            self.write(self.pages.len() - 1, font, size, (MARGIN, self.y), &line);
        }
    }

    pub fn title(&mut self, text: &str) {
        self.lines(BOLD, 17.0, text);
        self.y -= 8.0;
    }

    /// Never alone at the foot of a page.
    pub fn heading(&mut self, text: &str) {
        self.y -= 14.0;
        self.keep(70.0);
        self.lines(BOLD, 11.5, text);
        self.y -= 4.0;
    }

    pub fn paragraph(&mut self, text: &str) {
        self.lines(REGULAR, SIZE, text);
        self.y -= 4.0;
    }

    /// A table of columns with their shares of the width; its head is repeated on each page.
    pub fn table(&mut self, columns: &[(&str, f32)], rows: &[Vec<String>]) {
        let all: f32 = columns.iter().map(|(_, share)| share).sum();
        let widths: Vec<f32> =
            columns.iter().map(|(_, share)| share / all * (WIDTH - 2.0 * MARGIN)).collect();
        let heads: Vec<String> = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
        let has_head = heads.iter().any(|head| !head.is_empty());
        let cells = |letters: &Letters, row: &[String]| -> Vec<Vec<String>> {
            let wrap = |(cell, width): (&String, &f32)| letters.wrap(cell, width - 2.0 * PAD, SIZE);
            row.iter().zip(&widths).map(wrap).collect()
        };
        let head = cells(&self.letters[BOLD], &heads);
        let tall = |row: &[Vec<String>]| row.iter().map(Vec::len).max().unwrap_or(0);
        let height = |lines: usize| lines as f32 * SIZE * LINE + 2.0 * PAD;
        let full = HEIGHT - 2.0 * MARGIN - SIZE - height(tall(&head));
        if has_head {
            self.keep(height(tall(&head)) + height(2));
            self.row(&head, &widths, BOLD, 0..tall(&head));
        }
        for row in rows {
            let row = cells(&self.letters[REGULAR], row);
            let mut done = 0;
            while done < tall(&row) {
                let left = tall(&row) - done;
                let room = ((self.y - MARGIN - SIZE - 2.0 * PAD) / (SIZE * LINE)).max(0.0) as usize;
                // What fits a page of its own is not torn apart.
                if left > room && (room < 3 || height(left) <= full) {
                    self.page();
                    if has_head {
                        self.row(&head, &widths, BOLD, 0..tall(&head));
                    }
                    continue;
                }
                let part = left.min(room);
                self.row(&row, &widths, REGULAR, done..done + part);
                done += part;
            }
        }
        self.y -= 4.0;
    }

    /// These lines of a row, within this page.
    fn row(&mut self, cells: &[Vec<String>], widths: &[f32], font: usize, lines: std::ops::Range<usize>) {
        let page = self.pages.len() - 1;
        let height = lines.len() as f32 * SIZE * LINE + 2.0 * PAD;
        let content = &mut self.pages[page];
        if font == BOLD {
            content.set_fill_gray(0.92).rect(MARGIN, self.y - height, WIDTH - 2.0 * MARGIN, height);
            content.fill_nonzero().set_fill_gray(0.0);
        }
        content.set_stroke_gray(0.7).set_line_width(0.4);
        content.move_to(MARGIN, self.y - height).line_to(WIDTH - MARGIN, self.y - height).stroke();
        let mut x = MARGIN + PAD;
        for (cell, width) in cells.iter().zip(widths) {
            for (n, line) in cell.iter().skip(lines.start).take(lines.len()).enumerate() {
                let y = self.y - PAD - SIZE - n as f32 * SIZE * LINE;
                self.write(page, font, SIZE, (x, y), line);
            }
            x += width;
        }
        self.y -= height;
    }

    /// Numbers the pages, and gives the file.
    pub fn finish(mut self, about: &About) -> Result<Vec<u8>, String> {
        let count = self.pages.len();
        for page in 0..count {
            let number = format!("{} / {count}", page + 1);
            let x = WIDTH - MARGIN - self.letters[REGULAR].width(&number, 7.5);
            self.write(page, REGULAR, 7.5, (MARGIN, MARGIN - 16.0), about.foot);
            self.write(page, REGULAR, 7.5, (x, MARGIN - 16.0), &number);
        }
        let mut pdf = Pdf::new();
        let [catalog, tree, info] = [1, 2, 3].map(Ref::new);
        const FONTS: [i32; 2] = [4, 10];
        let of_page = |n: usize| (Ref::new(16 + 2 * n as i32), Ref::new(17 + 2 * n as i32));
        let mut root = pdf.catalog(catalog);
        root.pages(tree).lang(TextStr(about.language));
        root.viewer_preferences().display_doc_title(true);
        root.finish();
        let time = about.time.to_zoned(jiff::tz::TimeZone::UTC);
        let date = Date::new(time.year() as u16).month(time.month() as u8).day(time.day() as u8);
        let date = date.hour(time.hour() as u8).minute(time.minute() as u8).second(time.second() as u8);
        pdf.document_info(info)
            .title(TextStr(about.title))
            .producer(TextStr("qalqan"))
            .creation_date(date.utc_offset_hour(0).utc_offset_minute(0));
        pdf.pages(tree).kids((0..count).map(|n| of_page(n).0)).count(count as i32);
        for (n, content) in self.pages.drain(..).enumerate() {
            let (id, content_id) = of_page(n);
            let mut page = pdf.page(id);
            page.parent(tree).media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT)).contents(content_id);
            let mut resources = page.resources();
            resources.fonts().pair(Name(b"R"), Ref::new(FONTS[0])).pair(Name(b"B"), Ref::new(FONTS[1]));
            resources.finish();
            page.finish();
            pdf.stream(content_id, &content.finish());
        }
        for (letters, first) in self.letters.iter().zip(FONTS) {
            letters.embed(&mut pdf, first)?;
        }
        Ok(pdf.finish())
    }
}
