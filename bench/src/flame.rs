//! Where the time of a call goes: what `perf script` printed of a worker's thread, drawn as a flame graph.
//!
//! One row a caller, its callees above it, as wide as their share of the samples.

use std::collections::BTreeMap;
use std::fmt::Write;

#[derive(Default)]
pub struct Frame {
    samples: u64,
    callees: BTreeMap<String, Frame>,
}

/// Reads the stacks of `perf script`: a line a frame, the innermost first, an empty line between two samples.
///
/// What stands below `root` in a stack is left out, and so are samples without it.
pub fn read(script: &str, root: &str) -> Frame {
    let mut all = Frame::default();
    for sample in script.split("\n\n") {
        let names: Vec<String> = sample.lines().filter_map(name).collect();
        let Some(end) = names.iter().position(|name| name.contains(root)) else { continue };
        let mut frame = &mut all;
        frame.samples += 1;
        for name in names[..=end].iter().rev() {
            frame = frame.callees.entry(name.clone()).or_default();
            frame.samples += 1;
        }
    }
    all
}

/// A line is a tab, then `ffffffff81e9b75c simple_copy_to_iter+0x2c ([kernel.kallsyms])`.
fn name(line: &str) -> Option<String> {
    let (_, rest) = line.strip_prefix('\t')?.trim_start().split_once(' ')?;
    let symbol = rest.rsplit_once(" (").map_or(rest, |(symbol, _)| symbol);
    let symbol = symbol.rsplit_once("+0x").map_or(symbol, |(symbol, _)| symbol);
    Some(symbol.trim().to_owned())
}

const WIDE: f64 = 1180.0;
const ROW: f64 = 17.0;
/// Narrower frames are left out, in pixels.
const LEAST: f64 = 1.0;

impl Frame {
    /// Samples in all.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    fn depth(&self) -> usize {
        let visible = |frame: &&Frame| frame.samples * 1000 > self.samples;
        1 + self.callees.values().filter(visible).map(Frame::depth).max().unwrap_or(0)
    }

    pub fn svg(&self, title: &str) -> String {
        let high = (self.depth() as f64 + 1.0) * ROW + 30.0;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1200 {high:.0}\" font-family=\"monospace\" font-size=\"11\">\n\
             <rect width=\"1200\" height=\"{high:.0}\" fill=\"#fff\"/>\n\
             <text x=\"10\" y=\"18\" font-size=\"14\">{}</text>\n",
            escaped(title)
        );
        self.draw(&mut out, 10.0, high - 10.0, WIDE / self.samples.max(1) as f64, self.samples.max(1) as f64);
        out + "</svg>\n"
    }

    fn draw(&self, out: &mut String, mut x: f64, y: f64, scale: f64, all: f64) {
        for (name, frame) in &self.callees {
            let wide = frame.samples as f64 * scale;
            if wide >= LEAST {
                let is_kernel = !name.contains("::") && !name.contains(' ');
                let colour = if is_kernel { "#f0a868" } else { "#7cc0c8" };
                let share = frame.samples as f64 * 100.0 / all;
                let fits = (wide / 6.8) as usize;
                let label: String = if fits >= 4 { name.chars().take(fits).collect() } else { String::new() };
                let _ = writeln!(
                    out,
                    "<g><title>{} {share:.1} %</title><rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{}\" \
                     fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
                    escaped(name),
                    y - ROW,
                    wide - 0.4,
                    ROW - 1.0,
                    x + 2.0,
                    y - 5.0,
                    escaped(&label)
                );
                frame.draw(out, x, y - ROW, scale, all);
            }
            x += wide;
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stacks_below_their_root() {
        let script = "sip-0 1 1.0: 1 cpu-clock:\n\t 10 inner+0x1 (a)\n\t 20 <T as x::Run>::run+0x2 (a)\n\t 30 main+0x3 (a)\n\n\
                      sip-0 1 1.1: 1 cpu-clock:\n\t 20 <T as x::Run>::run+0x9 (a)\n\t 30 main+0x3 (a)\n\n\
                      other 1 1.2: 1 cpu-clock:\n\t 10 inner+0x1 (a)\n";
        let all = read(script, "::run");
        assert_eq!(all.samples(), 2, "the third has no root");
        let run = &all.callees["<T as x::Run>::run"];
        assert_eq!((run.samples, run.callees["inner"].samples), (2, 1));
        let svg = all.svg("a & b");
        assert!(svg.contains("a &amp; b") && svg.contains("&lt;T as x::Run&gt;::run 100.0 %"), "{svg}");
    }
}
