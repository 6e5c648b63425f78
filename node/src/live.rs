//! The live view: what a node decides, as it decides it, read from its journal.
//!
//! [`crate::store::logs::Follow`] reads the records that were appended since it last looked; [`View`] counts them and
//! draws.

use std::collections::{HashMap, VecDeque};

use call::{Rule, Treatment};
use journal::Record;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};
use rules::{Language, reason_in_words, rule_title, word};

const SECONDS_SHOWN: usize = 240;
const REFUSALS_SHOWN: usize = 64;

type Counts = [u64; 4];

/// What is shown.
pub struct View {
    language: Language,
    trunks: Vec<String>,
    title: String,
    totals: Counts,
    by_rule: HashMap<(Rule, Treatment), u64>,
    by_trunk: Vec<Counts>,
    would_block: u64,
    refusals: VecDeque<Record>,
    per_second: VecDeque<u64>,
    this_second: u64,
    took_ns: u64,
    /// Lines under the tables: how honest calls fared, how the journal is.
    pub footer: Vec<String>,
    pub lost: u64,
}

fn column(treatment: Treatment) -> usize {
    match treatment {
        Treatment::Allow => 0,
        Treatment::Mark(_) => 1,
        Treatment::Withhold => 2,
        Treatment::Block => 3,
    }
}

const NAMES: [&str; 4] = ["allow", "mark", "withhold", "block"];
const COLORS: [Color; 4] = [Color::Green, Color::Yellow, Color::Magenta, Color::Red];

impl View {
    pub fn new(language: Language, title: String, trunks: Vec<String>) -> View {
        View {
            language,
            by_trunk: vec![[0; 4]; trunks.len()],
            trunks,
            title,
            totals: [0; 4],
            by_rule: HashMap::new(),
            would_block: 0,
            refusals: VecDeque::new(),
            per_second: VecDeque::new(),
            this_second: 0,
            took_ns: 0,
            footer: Vec::new(),
            lost: 0,
        }
    }

    pub fn add(&mut self, record: &Record) {
        let treatment = record.verdict.treatment;
        self.totals[column(treatment)] += 1;
        *self.by_rule.entry((record.verdict.rule, treatment)).or_default() += 1;
        if let Some(counts) = self.by_trunk.get_mut(usize::from(record.call.trunk.0)) {
            counts[column(treatment)] += 1;
        }
        self.would_block +=
            u64::from(record.verdict.would.is_some_and(|would| would.treatment == Treatment::Block));
        self.this_second += 1;
        self.took_ns += u64::from(record.took_ns);
        if treatment == Treatment::Block {
            self.refusals.push_front(*record);
            self.refusals.truncate(REFUSALS_SHOWN);
        }
    }

    /// Ends a second.
    pub fn tick(&mut self) {
        self.per_second.push_back(std::mem::take(&mut self.this_second));
        if self.per_second.len() > SECONDS_SHOWN {
            self.per_second.pop_front();
        }
    }

    pub fn calls(&self) -> u64 {
        self.totals.iter().sum()
    }

    fn rate(&self) -> u64 {
        self.per_second.back().copied().unwrap_or(0)
    }

    fn word(&self, key: &str) -> &'static str {
        word(self.language, key)
    }

    fn journal_state(&self) -> String {
        match self.lost {
            0 => format!("{}: {}", self.word("journal"), self.word("journal-whole")),
            lost => format!("{}: {} {lost}", self.word("journal"), self.word("journal-lost")),
        }
    }

    /// The view in lines of text, for where there is no terminal.
    pub fn line(&self) -> String {
        let counts: Vec<String> =
            NAMES.iter().zip(self.totals).map(|(name, n)| format!("{} {n}", self.word(name))).collect();
        let latest =
            self.refusals.front().map_or(String::new(), |record| format!(" | {}", self.refusal(record)));
        format!("{} {}: {}{latest}", self.rate(), self.word("calls-per-second"), counts.join(", "))
    }

    fn refusal(&self, record: &Record) -> String {
        let rule = record.verdict.rule;
        let reason = reason_in_words(self.language, record.verdict.reason);
        format!("{} → {}  {}: {reason}", shown(record.call.calling), record.call.called, rule.id())
    }

    pub fn draw(&self, frame: &mut Frame) {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let footer = self.footer.len() as u16 + 1;
        let [head, graph, tables, refusals, foot] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(5),
            Constraint::Length(14),
            Constraint::Min(4),
            Constraint::Length(footer),
        ])
        .areas(frame.area());

        let mean_us = self.took_ns as f64 / self.calls().max(1) as f64 / 1000.0;
        let mut totals: Vec<_> = vec![format!("{} {}   ", self.calls(), self.word("calls")).bold()];
        for ((name, n), color) in NAMES.iter().zip(self.totals).zip(COLORS) {
            totals.push(format!("{} {n}   ", self.word(name)).fg(color));
        }
        if self.would_block > 0 {
            totals.push(
                format!("{} {} {}", self.word("would"), self.word("block"), self.would_block).fg(Color::Red),
            );
        }
        let title = format!("Qalqan  {}   {mean_us:.1} µs", self.title);
        frame.render_widget(Paragraph::new(vec![Line::from(title).style(bold), Line::from(totals)]), head);

        let width = usize::from(graph.width.saturating_sub(2));
        let seconds: Vec<u64> =
            self.per_second.iter().skip(self.per_second.len().saturating_sub(width)).copied().collect();
        let caption = format!(" {}: {} ", self.word("calls-per-second"), self.rate());
        let spark =
            Sparkline::default().block(Block::bordered().title(caption)).data(&seconds).fg(Color::Cyan);
        frame.render_widget(spark, graph);

        let [left, right] =
            Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(tables);
        frame.render_widget(self.rules_table(bold), left);
        frame.render_widget(self.trunks_table(bold), right);

        let room = usize::from(refusals.height.saturating_sub(3));
        let rows = self.refusals.iter().take(room).map(|record| {
            let time =
                jiff::Timestamp::from_millisecond(record.call.time_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            let trunk = self.trunks.get(usize::from(record.call.trunk.0)).map_or("", String::as_str);
            Row::new(vec![
                time.to_string().get(11..19).unwrap_or("").to_owned(),
                trunk.to_owned(),
                shown(record.call.calling),
                record.call.called.to_string(),
                record.verdict.rule.id().to_owned(),
                reason_in_words(self.language, record.verdict.reason).to_owned(),
            ])
        });
        let widths = [
            Constraint::Length(8),
            Constraint::Length(18),
            Constraint::Length(16),
            Constraint::Length(14),
            Constraint::Length(5),
            Constraint::Min(20),
        ];
        let heads = ["time", "trunk", "calling", "called", "rule", "reason"].map(|key| self.word(key));
        let caption = format!(" {} ", self.word("latest-refusals"));
        let table = Table::new(rows, widths)
            .header(Row::new(heads).style(bold))
            .block(Block::bordered().title(caption));
        frame.render_widget(table, refusals);

        let mut lines: Vec<Line> = self.footer.iter().map(|line| Line::from(line.as_str())).collect();
        lines.push(Line::from(format!("{}   {}", self.journal_state(), self.word("quit"))).dim());
        frame.render_widget(Paragraph::new(lines), foot);
    }

    fn rules_table(&self, bold: Style) -> Table<'_> {
        let mut rows: Vec<_> = self.by_rule.iter().map(|(&key, &n)| (key, n)).collect();
        rows.sort_by_key(|&((rule, treatment), n)| (std::cmp::Reverse(n), rule, treatment.code()));
        let rows = rows.into_iter().map(|((rule, treatment), n)| {
            Row::new(vec![
                rule.id().to_owned(),
                rule_title(self.language, rule).to_owned(),
                self.word(treatment.name()).to_owned(),
                format!("{n:>9}"),
            ])
            .style(Style::new().fg(COLORS[column(treatment)]))
        });
        let widths =
            [Constraint::Length(5), Constraint::Min(12), Constraint::Length(13), Constraint::Length(9)];
        let heads = ["rule", "reason", "verdict", "calls"].map(|key| self.word(key));
        let caption = format!(" {} ", self.word("verdicts-by-rule"));
        Table::new(rows, widths).header(Row::new(heads).style(bold)).block(Block::bordered().title(caption))
    }

    fn trunks_table(&self, bold: Style) -> Table<'_> {
        let rows = self.trunks.iter().zip(&self.by_trunk).map(|(name, counts)| {
            let mut cells = vec![name.clone()];
            cells.extend(counts.iter().map(|n| format!("{n:>8}")));
            Row::new(cells)
        });
        let mut widths = vec![Constraint::Min(12)];
        widths.extend([Constraint::Length(12); 4]);
        let heads = [self.word("trunk")].into_iter().chain(NAMES.map(|name| self.word(name)));
        let caption = format!(" {} ", self.word("verdicts-by-trunk"));
        Table::new(rows, widths).header(Row::new(heads).style(bold)).block(Block::bordered().title(caption))
    }
}

/// A calling number as shown: a dash where there is none.
fn shown(party: numbering::Party) -> String {
    match party {
        numbering::Party::Absent => "-".to_owned(),
        party => party.to_string(),
    }
}
