"""Reads, checks and rewrites segments with programs that know nothing of Qalqan."""

import json
import sys


def counts(files):
    """Calls by rule, by DuckDB."""
    import duckdb

    rows = duckdb.sql(f"select rule, count(*) from '{files}' group by rule order by rule").fetchall()
    print(json.dumps(dict(rows)))


def pandas_counts(files):
    """Calls by rule, by pandas, one file at a time."""
    import glob

    import pandas

    frame = pandas.concat(pandas.read_parquet(file) for file in sorted(glob.glob(files)))
    assert str(frame["time"].dtype).startswith("datetime64[ms, UTC"), frame["time"].dtype
    print(json.dumps({rule: int(n) for rule, n in frame.groupby("rule", observed=True).size().items()}))


def rows(files):
    """The columns that say who called whom, by DuckDB, in the order of time."""
    import duckdb

    query = f"select call_id, calling, presentation, called, redirecting from '{files}' order by call_id"
    for row in duckdb.sql(query).fetchall():
        print(json.dumps(row))


def seal(file, public_key):
    """Checks a seal by PyJWT; prints its payload."""
    import jwt

    key = open(public_key).read()
    print(jwt.PyJWS().decode(open(file).read().strip(), key=key, algorithms=["EdDSA"]).decode())


def rewrite(file, what):
    """Does something to the rows of a segment and writes it anew, as who has a Parquet library can."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(file)
    rows = table.to_pylist()
    if what == "change":
        rows[20]["calling"] = "0123456789abcd"
    elif what == "change-two":
        rows[3]["rule"], rows[9]["took_ns"] = "R99", 1
    elif what == "drop":
        del rows[7]
    elif what == "add":
        rows.insert(5, dict(rows[30], check=12345, call_id="added"))
    elif what == "copy":
        rows.insert(5, rows[30])
    elif what == "reorder":
        rows[2], rows[12] = rows[12], rows[2]
    elif what == "check":
        rows[4]["check"] ^= 1
    else:
        assert what == "same", what
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=table.schema), file, compression="zstd")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
