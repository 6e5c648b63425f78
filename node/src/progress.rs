//! How far long work has come.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::records::Progress;

/// A bar on a terminal, nothing elsewhere.
pub struct Bar(Option<ProgressBar>);

impl Bar {
    pub fn on_terminal() -> Bar {
        Bar(std::io::stderr().is_terminal().then(|| {
            let style = "{elapsed_precise} [{wide_bar}] {percent} %, {eta} left";
            ProgressBar::new(0).with_style(ProgressStyle::with_template(style).expect("a fixed template"))
        }))
    }

    pub fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Bar {
    fn total(&mut self, total: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(total);
        }
    }

    fn done(&mut self, done: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(done);
        }
    }
}
