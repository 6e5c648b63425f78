// The citizen's page: which step is shown, in which language. What a step is the node says; nothing is decided here.

import * as camera from "./camera.js";
import { Refused, get, post, speak, words } from "./server.js";

const $ = (id) => document.getElementById(id);
const LANGUAGES = ["kk", "ru", "en"];

let language;
let texts = {};
let state; // as the node told it last
let agreed = false; // the loan was read, and the code asked for
let broken; // why nothing goes on
let shownStep;
let closeCamera;

const word = (name) => texts[name] ?? name;
// A text with places, such as {minutes}.
const filled = (name, places) =>
  Object.entries(places).reduce((text, [place, value]) => text.replaceAll(`{${place}}`, value), word(name));
const time = (text) => new Date(text).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
const say = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };

async function choose(code) {
  texts = await words(code);
  language = code;
  sessionStorage.setItem("language", code);
  speak(code);
  document.documentElement.lang = code;
  document.title = word("title");
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", word(element.dataset.label));
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === code));
  }
}

// Does something with the node and shows what came of it; meanwhile nothing else can be pressed.
async function doing(work) {
  const buttons = [...document.querySelectorAll("main button:not(:disabled)")];
  buttons.forEach((button) => { button.disabled = true; });
  say("said", "");
  say("busy", word("loading"));
  try {
    const told = await work();
    if (told) state = told;
  } catch (refused) {
    await failed(refused);
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
    say("busy", "");
    render();
  }
}

async function failed(refused) {
  if (!(refused instanceof Refused)) {
    console.error(refused);
    return say("said", word("problem-stumble"));
  }
  if (["link-used", "link-not-known", "no-session"].includes(refused.name)) {
    sessionStorage.removeItem("session");
    broken = refused.name;
  } else {
    // What is on the screen may be old.
    if (refused.status >= 400 && state) state = await get("state").catch(() => state);
    const left = refused.body.tries_left ?? state?.code?.tries_left ?? 0;
    say("said", refused.name !== "wrong-code" ? texts[`problem-${refused.name}`] ?? word("problem-stumble")
      : left > 0 ? filled("problem-wrong-code", { tries: left }) : word("problem-no-open-code"));
  }
}

function step() {
  if (broken) return "broken";
  if (!state) return undefined;
  return state.step === "code" && !state.code && !agreed ? "ask" : state.step;
}

function render() {
  const now = step();
  for (const section of document.querySelectorAll("[data-step]")) section.hidden = section.dataset.step !== now;
  // Before the camera the screen is for the camera.
  $("loan").hidden = $("ban").hidden = !state || now === "broken" || Boolean(closeCamera);
  if (now === "broken") say("broken-why", word(`problem-${broken}`));
  if (state) {
    const places = { creditor: state.creditor, sum: `${Number(state.sum).toLocaleString(language)} ${state.currency}` };
    say("creditor", places.creditor);
    say("sum", places.sum);
    say("term", filled("days", { days: state.term_days }));
    say("iin", state.iin);
    say("phone", state.phone);
    say("ask-title", filled(state.consents_to === "consent" ? "consent-title" : "ask-title", places));
    say("code-title", filled("code-title", places));
    renderCode();
    say("face-tries", filled("face-tries", { tries: state.face_tries_left }));
    $("face-before").hidden = Boolean(closeCamera);
    $("face-during").hidden = !closeCamera;
    renderWaits(now);
    renderWait();
    renderEnd(places);
    renderBan();
  }
  if (now !== shownStep) {
    shownStep = now;
    document.querySelector(`[data-step="${now}"] h1`)?.focus();
    if (now === "code") $("code").focus();
  }
}

function renderCode() {
  say("code-left", state.code ? filled("code-left", { tries: state.code.tries_left, phone: state.phone }) : "");
  const seconds = state.code ? Math.ceil((resendAt - Date.now()) / 1000) : 0;
  $("resend").disabled = seconds > 0;
  say("resend", seconds > 0 ? filled("resend-in", { seconds }) : word("resend"));
}
let resendAt = 0;

// Gates that wait for something else than this page: they are said at every step.
function renderWaits(now) {
  const own = ["phone-possession", "living-face", "cooling-off"];
  const waits = now === "end" || now === "broken" ? [] : state.gates.filter((gate) => gate.answer === "wait"
    && (!own.includes(gate.gate) || ["no-reference-photo", "not-configured"].includes(gate.reason)));
  $("waits").hidden = waits.length === 0;
  $("waits").replaceChildren(...waits.map((gate) => {
    const item = document.createElement("li");
    const until = gate.until ? ` ${filled("until", { time: time(gate.until) })}` : "";
    const more = gate.reason === "call-with-suspect" ? ` ${word("hang-up")}` : "";
    item.textContent = `${gate.name}: ${gate.text}.${until}${more}`;
    return item;
  }));
}

function renderWait() {
  const cooling = state.state === "cooling";
  say("wait-title", word(cooling ? "cooling-title" : "wait-title"));
  say("wait-text", cooling ? filled("cooling-text", { time: time(state.cooling_until) }) : word("wait-text"));
}

function renderEnd(places) {
  const ended = state.denied ? "denied" : state.state;
  say("end-title", filled(`end-${ended}`, places));
  const why = state.gates.find((gate) => gate.gate === state.refused_by);
  say("end-text", ended === "refused" && why ? `${why.name}: ${why.text}.` : word(`end-${ended}-text`));
}

function renderBan() {
  const { banned, lifts, phone, lift_hours, code_sent } = state.ban;
  const told = !banned ? word("ban-none") : lifts
    ? filled("ban-lifting", { time: time(lifts) })
    : filled("ban-in-force", { hours: lift_hours });
  say("ban-state", told);
  $("ban-set").hidden = banned && !lifts;
  $("ban-lift").hidden = !banned || Boolean(lifts) || !phone;
  say("ban-lift", word(code_sent ? "ban-lift-again" : "ban-lift"));
  $("ban-form").hidden = $("ban-lift").hidden || !code_sent;
  say("ban-code-label", filled("ban-code-label", { phone: phone ?? "" }));
}

async function sendCode() {
  const told = await post("code");
  agreed = true;
  resendAt = Date.now() + (told.code?.resend_s ?? 60) * 1000;
  return told;
}

async function showFace() {
  say("said", "");
  say("help", "");
  try {
    closeCamera = await camera.open($("video"));
    scrollTo(0, 0);
  } catch (error) {
    closeCamera = undefined;
    return say("said", word(error.name === "NotAllowedError" ? "camera-refused" : "camera-none"));
  }
  render();
  try {
    state = await camera.show($("video"), { told: tellCommand, helped: help, isOver: () => document.hidden || !closeCamera });
    if (state.judged !== "matched") say("said", word(`face-${state.judged}`));
  } catch (refused) {
    if (refused.name !== "stopped") await failed(refused);
    else say("said", word("face-stopped"));
  } finally {
    closeCamera?.();
    closeCamera = undefined;
    render();
  }
}

function tellCommand({ step, steps, command }) {
  const name = command ?? "rest";
  $("command-picture").firstElementChild.setAttribute("href", `#command-${name}`);
  say("command-text", word(`command-${name}`));
  $("ring").style.strokeDashoffset = 100 - (100 * step) / steps;
  say("help", "");
}

const help = (fault) => say("help", fault ? word(`again-${fault}`) : "");

const digits = (input) => input.value.replace(/\D/g, "");

function listen() {
  $("go").onclick = () => doing(sendCode);
  $("resend").onclick = () => doing(sendCode);
  $("look-again").onclick = () => doing(() => get("state"));
  $("camera-on").onclick = showFace;
  $("ban-set").onclick = () => { if (confirm(word("ban-set-sure"))) doing(() => post("ban/set")); };
  $("ban-lift").onclick = () => doing(() => post("ban/code"));
  for (const button of document.querySelectorAll("[data-deny]")) {
    button.onclick = () => { if (confirm(word("deny-sure"))) { closeCamera?.(); closeCamera = undefined; doing(() => post("deny")); } };
  }
  for (const [form, input, path] of [["code-form", "code", "enter"], ["ban-form", "ban-code", "ban/lift"]]) {
    $(form).onsubmit = (event) => {
      event.preventDefault();
      const code = digits($(input));
      if (code.length !== 6) {
        say("said", word("code-six"));
        return $(input).focus();
      }
      $(input).value = "";
      doing(() => post(path, { code }));
    };
  }
  // A code that a phone fills in goes on by itself.
  $("code").oninput = () => { if (digits($("code")).length === 6) $("code-form").requestSubmit(); };
  for (const button of document.querySelectorAll("[data-language]")) {
    button.onclick = async () => {
      await choose(button.dataset.language);
      if (state && !closeCamera) await doing(() => get("state"));
      else render();
    };
  }
  setInterval(() => { if (step() === "code") renderCode(); }, 1000);
  setInterval(() => { if (step() === "wait" && !document.hidden) get("state").then((told) => { state = told; render(); }, () => {}); }, 10000);
}

async function begin() {
  const token = location.hash.slice(1);
  // Out of the address bar and the history before anything else.
  if (token) history.replaceState(null, "", location.pathname);
  const wanted = [sessionStorage.getItem("language"), ...navigator.languages.map((tag) => tag.split("-")[0])];
  await choose(wanted.find((code) => LANGUAGES.includes(code)) ?? "kk");
  listen();
  await doing(async () => {
    if (token) {
      try {
        const opened = await post("session", { token });
        sessionStorage.setItem("session", opened.session);
        await choose(opened.language);
      } catch (refused) {
        // A link that was opened in this very tab goes on.
        if (refused.name !== "link-used" || !sessionStorage.getItem("session")) throw refused;
      }
    } else if (!sessionStorage.getItem("session")) {
      throw new Refused("link-not-known", 0);
    }
    const told = await get("state");
    resendAt = Date.now() + (told.code?.resend_s ?? 0) * 1000;
    return told;
  });
}

begin();
