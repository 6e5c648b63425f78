#!/usr/bin/env python3
"""A creditor in Python. QALQAN_URL, QALQAN_CLIENT and QALQAN_CLIENT_SECRET say who asks whom.

    creditor.py open IIN PHONE SUM [KEY]   prints the id; with the same KEY again it prints the same id
    creditor.py code ID                    sends the applicant a code
    creditor.py confirm|consent ID CODE    first, second consent
    creditor.py look ID                    answer, state and gates; pay out on "pass" alone
    creditor.py document ID                the signed document, checked (needs pyjwt and cryptography)
    creditor.py listen PORT FILE           takes webhooks; QALQAN_WEBHOOK_SECRET signs them, FILE remembers them
"""

import base64
import hashlib
import hmac
import json
import os
import sqlite3
import sys
import time
import urllib.error
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer


class Refused(Exception):
    """The node said no (RFC 9457)."""


class Qalqan:
    def __init__(self, url, client, secret):
        self.url, self.basic = url, base64.b64encode(f"{client}:{secret}".encode()).decode()
        self.token, self.until = None, 0.0

    def _send(self, method, path, headers, body=None):
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=15) as answer:
            return answer.read().decode()

    def _token(self):
        # One token serves every request of its ten minutes.
        if time.monotonic() >= self.until:
            headers = {"Authorization": f"Basic {self.basic}", "Content-Type": "application/x-www-form-urlencoded"}
            said = json.loads(self._send("POST", "/oauth2/token", headers, b"grant_type=client_credentials"))
            self.token, self.until = said["access_token"], time.monotonic() + said["expires_in"] - 60
        return self.token

    def ask(self, method, path, body=None, key=None):
        """With a key a request is done once, however often it is sent; without one it is sent once."""
        tries = 5 if key or method == "GET" else 1
        for attempt in range(tries):
            time.sleep(attempt)
            try:
                headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
                if key:
                    headers["Idempotency-Key"] = key
                return self._send(method, path, headers, None if body is None else json.dumps(body).encode())
            except urllib.error.HTTPError as error:
                said = error.read()
                if error.code == 401 and attempt + 1 < tries:
                    self.until = 0.0  # it counts no longer
                elif error.code != 503 or attempt + 1 == tries:
                    try:
                        said = json.loads(said)
                        raise Refused(f"{error.code} {said.get('detail') or said.get('error')}") from None
                    except ValueError:
                        raise Refused(str(error.code)) from None
            except OSError:  # away, or it did not say: it may be done
                if attempt + 1 == tries:
                    raise
        raise AssertionError("the last try returned or raised")

    def open(self, iin, phone, amount, key):
        loan = {"iin": iin, "phone": phone, "sum": amount, "currency": "KZT", "term_days": 365, "kind": "unsecured",
                "channel": "online", "language": "kk"}
        return json.loads(self.ask("POST", "/v1/loans", loan, key))

    def document(self, loan):
        """What the document of a loan that has ended says, once its signature is checked."""
        import jwt

        token, keys = self.ask("GET", f"/v1/loans/{loan}/document"), json.loads(self.ask("GET", "/v1/loans/keys"))
        kid = jwt.get_unverified_header(token)["kid"]
        key = next(jwt.PyJWK(key) for key in keys["keys"] if key["kid"] == kid)
        # The algorithm is said here and never taken from the document.
        return jwt.decode(token, key.key, algorithms=["EdDSA"], options={"verify_aud": False})


class Webhooks:
    """Takes a webhook once: signed, not older than five minutes, not seen before, no older than what is known of its loan."""

    AGE_S = 300

    def __init__(self, secret, file):
        self.secret, self.store = secret.encode(), sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self.store.execute("CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, at REAL NOT NULL)")
        self.store.execute("CREATE TABLE IF NOT EXISTS loan (id TEXT PRIMARY KEY, version INTEGER NOT NULL, answer TEXT, state TEXT)")

    def take(self, headers, body):
        """A status to answer with, and the news if there is any. What is answered with 2xx is not sent again."""
        try:
            signed = dict(part.split("=", 1) for part in headers.get("Qalqan-Signature", "").split(","))
            at, tag, name = int(signed["t"]), signed["v1"], headers["Qalqan-Webhook-Id"]
        except (ValueError, KeyError):
            return 400, None
        expected = hmac.new(self.secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        if not name or not hmac.compare_digest(expected.encode(), tag.encode()):
            return 401, None
        if abs(time.time() - at) > self.AGE_S:
            return 401, None
        news = json.loads(body)
        # One transaction: after a crash in between, it comes again and is not yet seen.
        try:
            self.store.execute("BEGIN IMMEDIATE")
            self.store.execute("DELETE FROM seen WHERE at < ?", (time.time() - 4 * 86400,))
            is_new = self.store.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (name, time.time())).rowcount == 1
            is_later = is_new and self.store.execute(
                "INSERT INTO loan VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET version = excluded.version, "
                "answer = excluded.answer, state = excluded.state WHERE excluded.version > loan.version",
                (news["loan"], news["version"], news["answer"], news["state"]),
            ).rowcount == 1
            self.store.execute("COMMIT")
        except BaseException:
            self.store.execute("ROLLBACK")
            raise
        # Repeated: the node did not hear the first answer, or somebody plays it back. Either way nothing is done again.
        return (200 if is_new else 208), (news if is_later else None)


def listen(port, file):
    webhooks = Webhooks(os.environ["QALQAN_WEBHOOK_SECRET"], file)

    class Door(BaseHTTPRequestHandler):
        def do_POST(self):
            length = min(int(self.headers.get("Content-Length") or 0), 1 << 20)
            status, news = webhooks.take(self.headers, self.rfile.read(length))
            if news:
                print(news["loan"], news["answer"], news["state"], news["version"], flush=True)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    # One at a time: the store above is one connection.
    server = HTTPServer(("127.0.0.1", int(port)), Door)
    print("listening", flush=True)
    server.serve_forever()


def main(what=None, *rest):
    if what == "listen":
        return listen(*rest)
    if what not in ("open", "code", "confirm", "consent", "look", "document"):
        sys.exit(__doc__)
    node = Qalqan(os.environ.get("QALQAN_URL", "http://127.0.0.1:8080"), os.environ["QALQAN_CLIENT"], os.environ["QALQAN_CLIENT_SECRET"])
    key = str(uuid.uuid4())
    if what == "open":
        # Keep the key with the application in your own store before you send it: after a crash of yours it is sent again.
        print(node.open(*rest[:3], rest[3] if len(rest) > 3 else key)["id"])
    elif what == "code":
        print(json.loads(node.ask("POST", f"/v1/loans/{rest[0]}/code", None, key))["state"])
    elif what in ("confirm", "consent"):
        print(json.loads(node.ask("POST", f"/v1/loans/{rest[0]}/{what}", {"code": rest[1]}, key))["state"])
    elif what == "look":
        loan = json.loads(node.ask("GET", f"/v1/loans/{rest[0]}"))
        print(loan["answer"], loan["state"])
        for gate in loan["gates"]:
            print(f"  {gate['gate']}: {gate['answer']}, {gate['text']}")
    else:
        print(json.dumps(node.document(rest[0]), ensure_ascii=False, indent=2))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (Refused, OSError) as error:
        sys.exit(f"creditor.py: {error}")
