"""What a creditor's engineer would write instead: an application opened by FastAPI, its rows by asyncpg (bench/src/loans.rs).

It checks a token, answers a repeated request as before, seals personal data and writes the rows the node writes, but asks no gate.
"""

import hashlib
import hmac
import json
import os
import secrets
import time
from contextlib import asynccontextmanager

import asyncpg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import FastAPI, Header, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel

KEY, SEAL = secrets.token_bytes(32), AESGCM(secrets.token_bytes(32))


class Loan(BaseModel):
    iin: str
    phone: str
    sum: str
    currency: str
    term_days: int
    kind: str
    channel: str
    language: str


@asynccontextmanager
async def lifespan(app):
    app.state.pool = await asyncpg.create_pool(os.environ["STORE"], min_size=16, max_size=16)
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


def mac(text):
    return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()


def seal(text, about):
    nonce = secrets.token_bytes(12)
    return (nonce + SEAL.encrypt(nonce, text.encode(), about.encode())).hex()


@app.post("/v1/loans", status_code=201)
async def open_loan(loan: Loan, authorization: str = Header(), idempotency_key: str = Header()):
    if authorization != "Bearer bench":
        raise HTTPException(401)
    now, name, person, phone = int(time.time() * 1000), secrets.token_hex(16), mac(loan.iin), mac(loan.phone)
    asked = hashlib.sha256(loan.model_dump_json().encode()).hexdigest()
    async with app.state.pool.acquire() as store, store.transaction():
        turn = int.from_bytes(bytes.fromhex(person)[:8], "big", signed=True)
        await store.execute("SELECT pg_advisory_xact_lock($1)", turn)
        before = await store.fetchrow(
            "SELECT hash, status, sealed FROM answered WHERE client = $1 AND key = $2", "fastapi", idempotency_key
        )
        if before:
            raise HTTPException(409)
        await store.fetch("SELECT set_ms, lifts_ms FROM ban WHERE person = $1", person)
        await store.fetch("SELECT change, at_ms FROM phone_change WHERE phone = $1", phone)
        await store.fetch("SELECT creditor, sum FROM application WHERE person = $1 AND opened_ms >= $2", person, now - 86400000)
        await store.execute(
            "INSERT INTO application (id, creditor, person, phone, turn, sealed, opened_ms, sum, counts, state, due_ms) "
            "VALUES ($1, 'fastapi', $2, $3, $4, $5, $6, 25000000, 1, 'confirming', $7)",
            name, person, phone, turn, seal(json.dumps({"iin": loan.iin, "phone": loan.phone}), name), now, now + 86400000,
        )
        opened = {"event": "application_opened", "sum": loan.sum, "term_days": loan.term_days, "kind": loan.kind}
        gates = {"event": "gates_answered", "answers": [{"gate": str(n), "answer": "pass", "reason": "no-ban"} for n in range(7)]}
        await store.executemany(
            "INSERT INTO event (application, n, at_ms, body) VALUES ($1, $2, $3, $4)",
            [(name, n, now, json.dumps(body)) for n, body in enumerate((opened, gates))],
        )
        await store.execute("INSERT INTO look (at_ms, who, what, subject) VALUES ($1, 'fastapi', 'open', $2)", now, name)
        answer = {"id": name, "answer": "wait", "state": "confirming", "gates": gates["answers"], "events": [opened, gates]}
        await store.execute(
            "INSERT INTO answered (client, key, hash, status, sealed, at_ms) VALUES ('fastapi', $1, $2, 201, $3, $4)",
            idempotency_key, asked, seal(json.dumps(answer), "answered"), now,
        )
    return JSONResponse(answer, 201)
