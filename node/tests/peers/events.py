"""Holds events against their schema, and against the segments that they are rows of, with programs that know nothing of Qalqan."""

import glob
import json
import sys


def valid(schema, lines):
    import jsonschema

    validator = jsonschema.Draft202012Validator(json.load(open(schema)))
    for line in open(lines):
        validator.validate(json.loads(line))


def compare(segments, lines):
    """Prints how many events are rows of segments, each exactly once and all of them; fails at the first difference."""
    import pyarrow.parquet

    rows = {}
    for path in sorted(glob.glob(segments)):
        n = int(path.rsplit("/", 1)[1].split(".")[0])
        for record, row in enumerate(pyarrow.parquet.read_table(path).to_pylist(), 1):
            del row["check"]
            time = row["time"]
            row["time"] = f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"
            rows[n, record] = row
    events = [json.loads(line) for line in open(lines)]
    places = [(event["segment"], event["record"]) for event in events]
    assert places == sorted(rows), f"{len(places)} events, {len(rows)} rows, in order: {places == sorted(places)}"
    for place, event in zip(places, events):
        for name, value in rows[place].items():
            assert event[name] == value, (place, name, value, event[name])
    print(len(events))


globals()[sys.argv[1]](*sys.argv[2:])
