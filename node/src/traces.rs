//! Traces of sampled calls, off the way of the call: OpenTelemetry over OTLP/HTTP.
//!
//! A worker copies a sampled call into a queue of fixed size and goes on; a full queue drops the copy and
//! counts it. A thread of its own makes spans of what is in the queue and sends them. Numbers are masked.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use journal::Record;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use crate::config::{Setup, Tracing};

/// Copies that wait to be sent; 240 bytes each.
const QUEUE: usize = 4096;
/// Spans of one request to the collector, and how long the first of them waits for others.
const BATCH: usize = 512;
const GATHER: Duration = Duration::from_millis(500);
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Whose trace a call belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A trace of its own, if chance wants it.
    Here,
    /// Part of the caller's (W3C Trace Context), taken if the caller takes it.
    Remote { trace: u128, span: u64, is_sampled: bool },
}

impl Origin {
    /// Reads a `traceparent`; what is no such thing begins a trace of its own (section 3.2.4 of the standard).
    pub fn of_traceparent(text: &str) -> Origin {
        let read = || {
            let fixed = text.get(..55)?;
            let parts: Vec<&str> = fixed.split('-').collect();
            let [version, trace, span, flags] = parts[..] else { return None };
            let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let lengths = [version.len(), trace.len(), span.len(), flags.len()] == [2, 32, 16, 2];
            // Version ff is forbidden; of version 00 nothing more may follow, of later ones a dash and anything.
            let rest = &text[55..];
            let whole = rest.is_empty() || version != "00" && rest.starts_with('-');
            if !lengths || !parts.iter().all(|part| is_hex(part)) || version == "ff" || !whole {
                return None;
            }
            let trace = u128::from_str_radix(trace, 16).ok().filter(|&trace| trace != 0)?;
            let span = u64::from_str_radix(span, 16).ok().filter(|&span| span != 0)?;
            let is_sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
            Some(Origin::Remote { trace, span, is_sampled })
        };
        read().unwrap_or(Origin::Here)
    }
}

/// A sampled call.
struct Sample {
    record: Record,
    origin: Origin,
    door: &'static str,
    ended: SystemTime,
}

/// One worker's end of the queue.
pub struct Tracer {
    queue: SyncSender<Sample>,
    /// A call is sampled where the next random word is not above it.
    share: u64,
    /// Written by its worker alone.
    chance: AtomicU64,
}

impl Tracer {
    /// Takes a copy of a call if it is sampled; false where there was no room for it.
    #[inline]
    pub fn take(&self, record: &Record, origin: Origin, door: &'static str) -> bool {
        let is_wanted = match origin {
            Origin::Here => self.next() <= self.share,
            Origin::Remote { is_sampled, .. } => is_sampled,
        };
        !is_wanted || self.push(record, origin, door)
    }

    #[cold]
    fn push(&self, record: &Record, origin: Origin, door: &'static str) -> bool {
        let sample = Sample { record: *record, origin, door, ended: SystemTime::now() };
        !matches!(self.queue.try_send(sample), Err(TrySendError::Full(_)))
    }

    /// A step of xorshift64 (Marsaglia 2003), spread by a multiplication.
    #[inline]
    fn next(&self) -> u64 {
        let mut word = self.chance.load(Ordering::Relaxed);
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        self.chance.store(word, Ordering::Relaxed);
        word.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// The sending thread, and what tracers of workers are made of.
pub struct Traces {
    queue: SyncSender<Sample>,
    share: u64,
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Traces {
    /// `setup` gives the names of trunks.
    pub fn start(settings: &Tracing, setup: Arc<ArcSwap<Setup>>) -> std::io::Result<Traces> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", settings.url.trim_end_matches('/')))
            .with_timeout(SEND_TIMEOUT);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let mut exporter = exporter.build().map_err(std::io::Error::other)?;
        drop(entered);
        let resource = Resource::builder_empty()
            .with_service_name("qalqan")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        exporter.set_resource(&resource);
        let (queue, samples) = sync_channel(QUEUE);
        let stop = Arc::new(AtomicBool::new(false));
        let sender = Sender { samples, setup, exporter, runtime, failing: false, stop: stop.clone() };
        let thread = std::thread::Builder::new().name("traces".into()).spawn(move || sender.run())?;
        // 1.0 becomes the largest word: every call.
        let share = (settings.sample * u64::MAX as f64) as u64;
        Ok(Traces { queue, share, thread: Some(thread), stop })
    }

    pub fn tracer(&self) -> Tracer {
        let seed = RandomState::new().hash_one(std::process::id()) | 1;
        Tracer { queue: self.queue.clone(), share: self.share, chance: AtomicU64::new(seed) }
    }
}

impl Drop for Traces {
    /// Sends what is in the queue; a collector that does not answer holds the end up for 5 s at most.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Sender {
    samples: Receiver<Sample>,
    setup: Arc<ArcSwap<Setup>>,
    exporter: SpanExporter,
    runtime: tokio::runtime::Runtime,
    failing: bool,
    stop: Arc<AtomicBool>,
}

impl Sender {
    fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            let is_last = self.stop.load(Ordering::Relaxed);
            let gathered = Instant::now() + GATHER;
            while batch.len() < BATCH {
                let patience = if is_last { Duration::ZERO } else { gathered - Instant::now().min(gathered) };
                match self.samples.recv_timeout(patience) {
                    Ok(sample) => batch.push(self.span(&sample)),
                    Err(_) => break,
                }
            }
            let n = batch.len();
            if n > 0 {
                self.send(std::mem::take(&mut batch));
            }
            if is_last && (n == 0 || self.failing) {
                return;
            }
        }
    }

    /// A collector that is away costs the spans it did not get, and one line in the log.
    fn send(&mut self, batch: Vec<SpanData>) {
        let outcome = self.runtime.block_on(self.exporter.export(batch));
        match &outcome {
            Err(error) if !self.failing => crate::serve::log(&format!("traces are not taken: {error}")),
            Ok(()) if self.failing => crate::serve::log("traces are taken again"),
            _ => {}
        }
        self.failing = outcome.is_err();
    }

    fn span(&self, sample: &Sample) -> SpanData {
        let Sample { record, origin, door, ended } = sample;
        let (call, verdict) = (&record.call, &record.verdict);
        let word = || RandomState::new().hash_one(ended);
        let (trace, parent) = match origin {
            Origin::Here => (u128::from(word()) << 64 | u128::from(word()), 0),
            Origin::Remote { trace, span, .. } => (*trace, *span),
        };
        let setup = self.setup.load();
        let policy = &setup.policy;
        let trunk = policy.trunks.get(usize::from(call.trunk.0));
        let trunk = trunk.filter(|_| policy.basis_id() == record.basis).map(|trunk| trunk.name.clone());
        let (name, mut attributes) = match *door {
            "http" => (
                "POST /v1/screen",
                vec![
                    KeyValue::new("http.request.method", "POST"),
                    KeyValue::new("http.route", "/v1/screen"),
                    KeyValue::new("http.response.status_code", 200),
                    KeyValue::new("network.protocol.name", "http"),
                    KeyValue::new("network.transport", "tcp"),
                ],
            ),
            transport => (
                "INVITE",
                vec![
                    KeyValue::new("network.protocol.name", "sip"),
                    KeyValue::new("network.transport", if transport == "udp" { "udp" } else { "tcp" }),
                ],
            ),
        };
        attributes.extend([
            KeyValue::new("qalqan.trunk", trunk.unwrap_or_else(|| format!("#{}", call.trunk.0))),
            KeyValue::new("qalqan.trunk.class", call.class.name()),
            KeyValue::new("qalqan.calling", call.calling.to_string()),
            KeyValue::new("qalqan.called", call.called.to_string()),
            KeyValue::new("qalqan.verdict", verdict.treatment.name()),
            KeyValue::new("qalqan.rule", verdict.rule.id()),
            KeyValue::new("qalqan.rule.name", verdict.rule.name()),
            KeyValue::new("qalqan.reason", verdict.reason.name()),
            KeyValue::new("qalqan.basis", format!("{:016x}", record.basis)),
        ]);
        if let Some(label) = verdict.treatment.label() {
            attributes.push(KeyValue::new("qalqan.label", label.name()));
        }
        if let Some(would) = verdict.would {
            attributes.push(KeyValue::new("qalqan.would.verdict", would.treatment.name()));
            attributes.push(KeyValue::new("qalqan.would.rule", would.rule.id()));
        }
        SpanData {
            span_context: SpanContext::new(
                TraceId::from(trace),
                SpanId::from(word()),
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: SpanId::from(parent),
            parent_span_is_remote: parent != 0,
            span_kind: SpanKind::Server,
            name: Cow::Borrowed(name),
            start_time: *ended - Duration::from_nanos(u64::from(record.took_ns)),
            end_time: *ended,
            attributes,
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("qalqan")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of W3C Trace Context section 3.2.3, and what its grammar forbids.
    #[test]
    fn reads_traceparent_as_the_standard_says() {
        let trace = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
        let span = 0x00f0_67aa_0ba9_02b7;
        let read = |is_sampled| Origin::Remote { trace, span, is_sampled };
        let ids = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
        assert_eq!(Origin::of_traceparent(&format!("00-{ids}-01")), read(true));
        assert_eq!(Origin::of_traceparent(&format!("00-{ids}-00")), read(false));
        assert_eq!(Origin::of_traceparent(&format!("cc-{ids}-01-what-comes-later")), read(true));
        for bad in [
            "",
            &format!("00-{ids}-01-more"),
            &format!("cc-{ids}-01more"),
            &format!("ff-{ids}-01"),
            &format!("00-{}-01", ids.to_uppercase()),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "қалқан-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Origin::of_traceparent(bad), Origin::Here, "{bad}");
        }
    }
}
