"""Checks an evidence package as docs/casework.md says, and signs a changed one anew, with nothing of Qalqan."""

import base64
import hashlib
import json
import pathlib
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

OWN = {"manifest.json", "manifest.jws"}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def files(package):
    return {path.relative_to(package).as_posix(): path.read_bytes() for path in sorted(package.rglob("*")) if path.is_file()}


def check(package, public_key):
    """Signature, hashes, the chain of seals, and decisions against their rows."""
    import pyarrow.parquet

    package = pathlib.Path(package)
    key = serialization.load_pem_public_key(pathlib.Path(public_key).read_bytes())
    content = files(package)
    previous, n = "", 0
    while (seal := content.get(f"journal/segments/{n:010}.seal")) is not None:
        header, payload, signature = seal.decode().strip().split(".")
        key.verify(unb64(signature), f"{header}.{payload}".encode())
        entry = json.loads(unb64(payload))
        assert (entry["n"], entry["previous"]) == (n, previous), entry
        if entry["kind"] == "rotation":
            key = ed25519.Ed25519PublicKey.from_public_bytes(unb64(entry["key"]))
        previous, n = hashlib.sha256(seal).hexdigest(), n + 1
    header, empty, signature = content["manifest.jws"].decode().strip().split(".")
    assert empty == ""
    key.verify(unb64(signature), f"{header}.{b64(content['manifest.json'])}".encode())
    manifest = json.loads(content["manifest.json"])
    assert (manifest["journal"]["entries"], manifest["journal"]["head"]) == (n, previous)
    listed = {file["name"]: (file["sha256"], file["bytes"]) for file in manifest["files"]}
    there = {name: (hashlib.sha256(data).hexdigest(), len(data)) for name, data in content.items() if name not in OWN}
    assert listed == there
    rows = {}
    for line in content["decisions.jsonl"].decode().splitlines():
        decision = json.loads(line)
        n = decision["segment"]
        if n not in rows:
            rows[n] = pyarrow.parquet.read_table(package / f"journal/segments/{n:010}.parquet").to_pylist()
        row = rows[n][decision["record"] - 1]
        for name in ["trunk", "class", "verdict", "label", "rule", "took_ns", "basis", "call_id"]:
            assert decision[name] == row[name], (decision, row)
        assert decision["sub_reason"] == row["reason"]
        basis = json.loads(content[f"journal/basis-{row['basis']}.json"])
        compact = json.dumps(basis, separators=(",", ":"), ensure_ascii=False).encode()
        assert hashlib.sha256(compact).hexdigest().startswith(row["basis"])
    print(sum(len(records) for records in manifest["decisions"].values()))


def resign(package, key_file="", what=""):
    """Takes the files as they are now into the manifest, and signs it: with a key, or one of our own."""
    package = pathlib.Path(package)
    if key_file:
        key = serialization.load_pem_private_key(pathlib.Path(key_file).read_bytes(), None)
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    manifest = json.loads((package / "manifest.json").read_text())
    manifest["files"] = [
        {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in files(package).items()
        if name not in OWN
    ]
    if what:
        manifest["why"] = what
    text = json.dumps(manifest).encode()
    x = b64(key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))
    jwk = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, separators=(",", ":")).encode()
    header = b64(json.dumps({"alg": "EdDSA", "kid": b64(hashlib.sha256(jwk).digest())}).encode())
    signature = key.sign(f"{header}.{b64(text)}".encode())
    (package / "manifest.json").write_bytes(text)
    (package / "manifest.jws").write_text(f"{header}..{b64(signature)}\n")


{"check": check, "resign": resign}[sys.argv[1]](*sys.argv[2:])
