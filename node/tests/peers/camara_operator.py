"""An operator with CAMARA APIs and a token endpoint: openapi-core holds every request, and every answer, against camara.yaml.

What it answers is said by PUT /behave: {"sim-swap/v2/check": {"status": 200, "body": {…}, "delay": s, "raw": "…", "headers": {…}}};
an answer with "raw" is none of the document's; {"revoke": true} ends all tokens. GET /seen tells what was asked, and
what was wrong with it.
"""

import base64
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse

openapi = OpenAPI.from_file_path(Path(__file__).with_name("camara.yaml"))
lock = threading.Lock()
behaviour = {}
tokens = set()
seen = {"asked": [], "tokens": 0, "refused": 0, "faults": []}


class Operator(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers={}):
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_GET(self):
        with lock:
            self.answer(200, json.dumps(seen).encode())

    def do_PUT(self):
        with lock:
            says = json.loads(self.body())
            if "revoke" in says:
                tokens.clear()
            behaviour.update(says)
        self.answer(200, b"")

    def do_POST(self):
        body = self.body()
        if self.path == "/oauth2/token":
            return self.token(body)
        request = MockRequest(
            "http://localhost", "post", self.path, headers=dict(self.headers), data=body,
            content_type=self.headers.get("Content-Type", ""),
        )
        with lock:
            seen["asked"].append([self.path.strip("/"), json.loads(body or b"null")])
            says = behaviour.get(self.path.strip("/"), {"status": 503, "body": {"status": 503, "code": "UNAVAILABLE", "message": "-"}})
            if self.headers["Authorization"] not in tokens:
                seen["refused"] += 1
                error = {"status": 401, "code": "UNAUTHENTICATED", "message": "-"}
                return self.answer(401, json.dumps(error).encode())
        try:
            openapi.validate_request(request)
        except Exception as error:
            with lock:
                seen["faults"].append(f"{self.path}: {error!r} {error.__cause__!r}")
        time.sleep(says.get("delay", 0))
        if "raw" in says:
            return self.answer(says["status"], says["raw"].encode(), says.get("headers", {}))
        said = b"" if says["status"] == 204 else json.dumps(says["body"]).encode()
        response = MockResponse(said, says["status"], content_type="application/json")
        try:
            openapi.validate_response(request, response)
        except Exception as error:
            with lock:
                seen["faults"].append(f"the answer of {self.path}: {error!r} {error.__cause__!r}")
        self.answer(says["status"], said, says.get("headers", {}))

    def token(self, body):
        """RFC 6749 section 4.4; id and secret are form-encoded within Basic (section 2.3.1)."""
        expected = "Basic " + base64.b64encode(b"gate:s%2Be%26cret").decode()
        form = dict(pair.split("=", 1) for pair in body.decode().split("&"))
        with lock:
            if self.headers["Authorization"] != expected or form.get("grant_type") != "client_credentials" or not form.get("scope"):
                seen["faults"].append(f"token: {form}")
                return self.answer(401, b'{"error": "invalid_client"}')
            seen["tokens"] += 1
            token = {"access_token": f"token-{seen['tokens']}", "token_type": "Bearer", "expires_in": 3600}
            tokens.add("Bearer " + token["access_token"])
            self.answer(200, json.dumps(token).encode())


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Operator)
server.daemon_threads = True
server.serve_forever()
