"""Sends JSON lines as the text they are."""

import schemathesis

schemathesis.serializer.alias("application/x-ndjson", "text/plain")
