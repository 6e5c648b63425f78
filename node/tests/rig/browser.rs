//! A real browser under test: Chromium without a window, driven by the DevTools protocol over its pipe (messages end on NUL), so
//! that nothing but the browser is needed.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A page that does not come to it by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Browser {
    child: Child,
    to: RefCell<ChildStdin>,
    from: Receiver<Value>,
    next: Cell<u64>,
    _profile: TempDir,
}

/// A tab of a telephone's size.
pub struct Page<'b> {
    browser: &'b Browser,
    session: String,
}

impl Browser {
    /// `more` are more switches of Chromium.
    pub fn start(more: &[&str]) -> Browser {
        let profile = tempfile::tempdir().expect("a directory");
        // Chromium reads from file 3 and writes to file 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "chromium"])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--disable-component-update", "--mute-audio"])
            .args(["--remote-debugging-pipe", "--use-fake-device-for-media-stream"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromium: ./test installs it");
        let (send, from) = channel();
        let out = child.stdout.take().expect("a pipe");
        std::thread::spawn(move || {
            for message in BufReader::new(out).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("the protocol is JSON");
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let to = RefCell::new(child.stdin.take().expect("a pipe"));
        Browser { child, to, from, next: Cell::new(1), _profile: profile }
    }

    #[track_caller]
    fn ask(&self, session: &str, method: &str, parameters: Value) -> Value {
        let told = self.told(session, method, parameters);
        assert!(told["error"].is_null(), "{method}: {told}");
        told["result"].clone()
    }

    #[track_caller]
    fn told(&self, session: &str, method: &str, parameters: Value) -> Value {
        let id = self.send(session, method, parameters);
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let message = self.from.recv_timeout(left).unwrap_or_else(|_| panic!("no answer to {method}"));
            if message["method"] == "Page.javascriptDialogOpening" {
                let session = message["sessionId"].as_str().unwrap_or("").to_owned();
                self.send(&session, "Page.handleJavaScriptDialog", json!({"accept": true}));
            }
            if message["id"] == id {
                return message;
            }
        }
    }

    fn send(&self, session: &str, method: &str, parameters: Value) -> u64 {
        let id = self.next.replace(self.next.get() + 1);
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if !session.is_empty() {
            message["sessionId"] = json!(session);
        }
        let mut to = self.to.borrow_mut();
        to.write_all(message.to_string().as_bytes()).expect("chromium runs");
        to.write_all(&[0]).expect("chromium runs");
        to.flush().expect("chromium runs");
        id
    }

    /// A tab of 360 × 640 points. `script` runs in each document before its own scripts.
    pub fn page(&self, url: &str, script: &str) -> Page<'_> {
        let target = self.ask("", "Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.ask("", "Target.attachToTarget", attach);
        let page = Page { browser: self, session: attached["sessionId"].as_str().unwrap().to_owned() };
        page.ask("Page.enable", json!({}));
        page.ask("Runtime.enable", json!({}));
        let size = json!({"width": 360, "height": 640, "deviceScaleFactor": 2, "mobile": true});
        page.ask("Emulation.setDeviceMetricsOverride", size);
        if !script.is_empty() {
            page.ask("Page.addScriptToEvaluateOnNewDocument", json!({"source": script}));
        }
        page.ask("Page.navigate", json!({"url": url}));
        page
    }

    /// Lets pages of an origin have the camera.
    pub fn allow_camera(&self, origin: &str) {
        let grant = json!({"permissions": ["videoCapture"], "origin": origin});
        self.ask("", "Browser.grantPermissions", grant);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Page<'_> {
    #[track_caller]
    fn ask(&self, method: &str, parameters: Value) -> Value {
        self.browser.ask(&self.session, method, parameters)
    }

    /// What an expression of JavaScript comes to.
    #[track_caller]
    pub fn value(&self, expression: &str) -> Value {
        let told = self.evaluated(expression);
        assert!(told["error"].is_null(), "{expression}: {told}");
        told["result"]["result"]["value"].clone()
    }

    #[track_caller]
    fn evaluated(&self, expression: &str) -> Value {
        let ask = json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let told = self.browser.told(&self.session, "Runtime.evaluate", ask);
        assert!(told["result"]["exceptionDetails"].is_null(), "{expression}: {told}");
        told
    }

    /// Returns when another document has taken this one's place.
    #[track_caller]
    pub fn reload(&self) {
        self.value("globalThis.isOld = true");
        self.ask("Page.reload", json!({}));
        let end = Instant::now() + PATIENCE;
        // What is asked while the document goes is answered with an error.
        while self.evaluated("!globalThis.isOld")["result"]["result"]["value"] != true {
            assert!(Instant::now() < end, "the page is not loaded again");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    pub fn wait(&self, expression: &str) {
        self.wait_at_most(expression, PATIENCE.as_secs());
    }

    #[track_caller]
    pub fn wait_at_most(&self, expression: &str, seconds: u64) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while self.value(&format!("Boolean({expression})")) != true {
            assert!(Instant::now() < end, "waited for {expression}; the page shows: {}", self.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What a person reads.
    pub fn text(&self) -> String {
        self.value("document.body?.innerText ?? ''").as_str().unwrap_or("").to_owned()
    }

    #[track_caller]
    pub fn wait_for_text(&self, text: &str) {
        self.wait(&format!("document.body?.innerText.includes({})", json!(text)));
    }

    /// Waits until a thing can be pressed, and presses it.
    #[track_caller]
    pub fn press(&self, selector: &str) {
        let found = format!(
            "[...document.querySelectorAll({})].find((e) => e.checkVisibility() && !e.disabled)",
            json!(selector)
        );
        self.wait(&found);
        self.value(&format!("{found}.click()"));
    }

    /// Types into the field that has the focus, key by key as a person does.
    #[track_caller]
    pub fn enter(&self, selector: &str, text: &str) {
        self.wait(&format!("document.querySelector({})?.checkVisibility()", json!(selector)));
        self.value(&format!("document.querySelector({}).focus()", json!(selector)));
        self.ask("Input.insertText", json!({"text": text}));
    }

    /// What every step has to keep: nothing wider than the screen; what can be pressed or filled in has a name, and is large
    /// enough for a finger; one heading; a language.
    #[track_caller]
    pub fn is_accessible(&self) {
        let faults = self.value(
            "(() => {
                const faults = [];
                const seen = (e) => e.checkVisibility();
                if (document.documentElement.scrollWidth > 360) faults.push('wider than the screen');
                if (!document.documentElement.lang || !document.title) faults.push('no language or title');
                if ([...document.querySelectorAll('h1')].filter(seen).length !== 1) faults.push('not one h1');
                for (const e of [...document.querySelectorAll('button, input')].filter(seen)) {
                    const name = (e.ariaLabel || [...(e.labels ?? [])].map((l) => l.innerText).join() || e.innerText || '').trim();
                    const box = e.getBoundingClientRect();
                    if (!name) faults.push(`${e.id || e.outerHTML} has no name`);
                    if (box.height < 44 || box.width < 44) faults.push(`${name} is ${box.width} × ${box.height}`);
                }
                for (const e of document.querySelectorAll('[aria-describedby], [aria-labelledby]')) {
                    for (const id of `${e.getAttribute('aria-describedby') ?? ''} ${e.getAttribute('aria-labelledby') ?? ''}`.trim().split(/\\s+/)) {
                        if (!document.getElementById(id)) faults.push(`${id} is not there`);
                    }
                }
                if (!document.querySelector('[role=alert]') || !document.querySelector('[role=status]')) faults.push('nothing is announced');
                return faults;
            })()",
        );
        assert_eq!(faults, json!([]), "{}", self.text());
    }
}
