// Asks the node. The session stands in this tab alone, and in no address.

export class Refused extends Error {
  constructor(name, status, body = {}) {
    super(name);
    this.name = name;
    this.status = status;
    this.body = body;
  }
}

let language = "kk";

export function speak(code) {
  language = code;
}

async function fetched(path, options) {
  const headers = { "Accept-Language": language, ...options.headers };
  const session = sessionStorage.getItem("session");
  if (session) headers.Authorization = `Bearer ${session}`;
  let answer;
  try {
    answer = await fetch(`/confirm/${path}`, {
      ...options, headers, cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer",
    });
  } catch {
    throw new Refused("offline", 0);
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  throw new Refused(String(body.type ?? "").split(":").pop() || "stumble", answer.status, body);
}

export const get = (path) => fetched(path, { method: "GET" });

export const post = (path, body) => fetched(path, body === undefined
  ? { method: "POST" }
  : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const picture = (nonce, jpeg) =>
  fetched(`face/${nonce}`, { method: "POST", headers: { "Content-Type": "image/jpeg" }, body: jpeg });

export const words = async (code) => (await fetch(`/confirm/words/${code}.json`)).json();
