"""What bench/replay runs: the day, the tables for SQL, the rounds, and the table for people.

The tables come from the files themselves (plan, configuration, lists) and from the phonenumbers library, not from Qalqan:
that both count alike says something about both.
"""

import argparse
import csv
import datetime
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import phonenumbers

ORDER = ["R00", "R01", "ALLOW", "R02", "R03", "R04", "R05", "R06", "R07", "R08", "R09", "R10", "R11", "R16", "R12", "R13",
         "R14", "R15", "R17", "R18", "R19", "R20"]
TREATMENTS = {0: "allow", 2: "mark", 4: "mark", 5: "withhold", 6: "block"}
SHOWN = {"allowed": "allow", "marked": "mark", "withheld": "withhold", "blocked": "block"}
CLASSES = ["international", "international-dedicated", "national", "access", "transit"]
HOME, FOREIGN, SHARED, RESERVE, NOBODY = range(5)
KINDS = ["", "fixed", "mobile", "voip", "freephone", "premium", "shared-service"]
LISTS = ["allow", "block", "do-not-originate", "unallocated", "no-outbound-roaming", "no-international", "roaming-numbers"]
NEVER = datetime.datetime(9999, 1, 1, tzinfo=datetime.timezone.utc)


def plan_entries(plan):
    """Prefix: (owner, kind, lengths), as the plan's file and the library's metadata say."""
    entries, cc = {}, plan["country-code"]
    for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        lengths = 0
        for national in range(1, 16 - len(str(code))):
            number = phonenumbers.PhoneNumber(country_code=code, national_number=10 ** (national - 1))
            if phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE:
                lengths |= 1 << (national + len(str(code)))
        entries[str(code)] = (FOREIGN, -1, lengths)
    lengths = sum(1 << (n + len(cc)) for n in plan["national-number-lengths"])
    entries[cc] = (HOME, 0, lengths)
    owners = {"shared": (SHARED, -1, lengths), "reserve": (RESERVE, -1, 0), plan["country"]: (HOME, 0, lengths)}
    for row in plan["split"]:
        for code in range(int(row["from"]), int(row["to"]) + 1):
            entries[f"{cc}{code:0{len(row['from'])}}"] = owners.get(row["owner"], (FOREIGN, -1, lengths))
    for row in plan["range"]:
        for prefix in row["prefixes"]:
            entries[cc + prefix] = (HOME, KINDS.index(row["kind"]) if row["kind"] in KINDS else -1, lengths)
    return entries


def longest(entries, digits):
    return next((entries[digits[:n]] for n in range(len(digits), 0, -1) if digits[:n] in entries), (NOBODY, -1, 0))


def until(text):
    """A date counts to its end, a time to itself."""
    if not text:
        return NEVER
    if "T" in text:
        return datetime.datetime.fromisoformat(text)
    return datetime.datetime.fromisoformat(f"{text}T00:00:00Z") + datetime.timedelta(days=1)


def rows_of(path):
    with open(path, newline="") as file:
        return [(row["number"].lstrip("+"), until(row["expires"]), row["note"]) for row in csv.DictReader(file)]


def keys_of(digits, whole):
    """A prefix as those of seven digits; a longer one as the whole numbers it covers."""
    if not digits.endswith("*"):
        return [("numbers", int(digits))]
    digits = digits[:-1]
    table, n = ("prefixes", 7) if len(digits) <= 7 else ("numbers", whole)
    free = n - len(digits)
    return [(table, int(digits) * 10**free + rest) for rest in range(10**free)]


def tables(connection, plan, configuration, base):
    """Puts the tables there that bench/replay.sql names."""
    entries, cc = plan_entries(plan), plan["country-code"]
    assert len(cc) == 1 and max(map(len, entries)) <= 6, "the query's keys are made for this"
    keys = [f"{n:03}" for n in range(100, 1000) if not str(n).startswith(cc)] + [f"{cc}{n:05}" for n in range(100000)]
    rows = [(int(key), *longest(entries, key)) for key in keys]
    connection.execute("CREATE TABLE plan(k BIGINT, owner TINYINT, kind TINYINT, lengths INTEGER)")
    load(connection, base, "plan", rows)
    four = [longest(entries, str(n)) if n >= 1000 else (NOBODY, -1, 0) for n in range(10000)]
    possible = "".join(str(lengths >> n & 1) for _, _, lengths in four for n in range(16))
    connection.execute(f"SET VARIABLE possible = '{possible}'::BIT")
    home = "".join(str(int(owner == HOME)) for owner, _, _ in four)
    connection.execute(f"SET VARIABLE home = '{home}'::BIT")

    connection.execute("CREATE TABLE trunks(trunk VARCHAR, class TINYINT, national BOOLEAN)")
    trunks = configuration["trunk"]
    load(connection, base, "trunks", [(name, CLASSES.index(t["class"]), t["class"] in ("national", "access"))
                                      for name, t in trunks.items()])
    numbers, prefixes = {}, {}
    for name in [*LISTS, "exempt"]:
        for digits, expires, note in rows_of(base / configuration["lists"][name]):
            for table, key in keys_of(digits, len(cc) + plan["national-number-lengths"][0]):
                place = (prefixes if table == "prefixes" else numbers).setdefault(key, {})
                place[name] = max(expires, place.get(name, expires))
                if name == "exempt":
                    place["rules"] = sum(1 << ORDER.index(rule) for rule in note.split())
    columns = ", ".join(f"{name.replace('-', '_')} TIMESTAMPTZ" for name in [*LISTS, "exempt"])
    for table, key, entries in [("listed", "number", numbers), ("listed_prefixes", "prefix", prefixes)]:
        connection.execute(f"CREATE TABLE {table}({key} BIGINT, {columns}, rules INTEGER)")
        load(connection, base, table, [(n, *(entry.get(name) for name in [*LISTS, "exempt"]), entry.get("rules", 0))
                                       for n, entry in entries.items()])
    connection.execute("CREATE TABLE registered(trunk VARCHAR, number BIGINT, until TIMESTAMPTZ)")
    registered = [(name, key, expires) for name, t in trunks.items() if "numbers" in t
                  for digits, expires, _ in rows_of(base / t["numbers"])
                  for table, key in keys_of(digits, len(cc) + plan["national-number-lengths"][0]) if table == "numbers"]
    load(connection, base, "registered", registered)


def load(connection, base, table, rows):
    path = base / f"{table}.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([["" if value is None else value for value in row] for row in rows])
    connection.execute(f"COPY {table} FROM '{path}' (FORMAT csv, HEADER false)")


def query(plan, file):
    text = Path("bench/replay.sql").read_text()
    one = lambda name: plan[name][0]
    code = lambda digits: str(-(10 ** len(digits) + int(digits)))
    cc = plan["country-code"]
    names = {
        "cc": cc, "cc_digits": len(cc), "home_from": cc + "0" * 5, "home_to": cc + "9" * 5,
        "nsn": one("national-number-lengths"), "np": plan["national-prefix"], "np_digits": len(plan["national-prefix"]),
        "ip": one("international-prefixes"), "ip_digits": len(one("international-prefixes")),
        "emergency": ", ".join(map(code, plan["emergency"])),
        "short_lengths": ", ".join(map(str, plan["short-code-lengths"])), "file": file,
    }
    macros, rest = text.split("-- judged:\n")
    judged, select = rest.split("-- query:\n")

    def judged_by(a, p, l, x, g):
        exempt = r"coalesce((time < $list.exempt AND ($list.rules >> \1) & 1 = 1) " \
                 r"OR (time < $prefix.exempt AND ($prefix.rules >> \1) & 1 = 1), false)"
        filled = re.sub(r"\$exempt\((\d+)\)", exempt, judged)
        for name, value in [("list", l), ("prefix", x), ("plan", p), ("registered", g), ("a", a)]:
            filled = filled.replace(f"${name}", value)
        return filled

    def fill(text):
        return re.sub(r"\{(\w+)\}", lambda found: str(names[found[1]]), text)

    names["judged_network"] = fill(judged_by("a", "pa", "la", "apre", "ra"))
    names["judged_presented"] = fill(judged_by("presented", "pp", "lp", "ppre", "rp"))
    return fill(macros), fill(select)


def run_duckdb(arguments):
    """One run in a process of its own: time of the query alone, tables and import not counted."""
    import duckdb

    work, threads = Path(arguments[0]), int(arguments[1])
    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}; SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
    plan = tomllib.loads(Path("plans/kz.toml").read_text())
    base = work / "country"
    tables(connection, plan, tomllib.loads((base / "qalqan.toml").read_text()), base)
    macros, select = query(plan, work / "day.parquet")
    connection.execute(macros)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    counted = connection.execute(select).fetchall()
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    if "explain" in arguments:
        connection.execute("SET explain_output = 'all'")
        print(connection.execute("EXPLAIN ANALYZE " + select).fetchall()[0][1])
    counts = {}
    for verdict, calls in counted:
        key = f"{ORDER[verdict % 100]} {TREATMENTS[verdict // 100]}"
        counts[key] = counts.get(key, 0) + calls
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"wall": wall, "cpu": cpu, "kib": after.ru_maxrss, "counts": counts}))


def measured(command, pinned):
    """Wall, CPU and memory of a process from its start to its end, and what it printed."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    child = subprocess.Popen((["taskset", "-c", str(pinned)] if pinned is not None else []) + command,
                             stdout=subprocess.PIPE, text=True)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    if status != 0:
        sys.exit(f"{command[0]} failed")
    return {"wall": time.perf_counter() - started, "cpu": usage.ru_utime + usage.ru_stime, "kib": usage.ru_maxrss}, out


def run_qalqan(work, pinned):
    figures, out = measured([os.environ["QALQAN"], "replay", str(work / "day.parquet"), "--config",
                             str(work / "country/qalqan.toml")], pinned)
    counts = {}
    for line in out.splitlines():
        found = re.match(r"(\S+) .* (allowed|marked|withheld|blocked) +(\d+) ", line)
        if found and found[1] in ORDER:
            key = f"{found[1]} {SHOWN[found[2]]}"
            counts[key] = counts.get(key, 0) + int(found[3])
    return {**figures, "counts": counts}


def run_sql(work, threads, pinned):
    _, out = measured([sys.executable, __file__, "duckdb", str(work), str(threads)], pinned)
    return json.loads(out)


def main():
    parser = argparse.ArgumentParser(prog="bench/replay")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--calls", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if asked.quick:
        asked.calls, asked.rounds = 100_000, 1
    work = Path("target/bench/replay")
    work.mkdir(parents=True, exist_ok=True)
    made = work / "made"
    if not made.exists() or made.read_text() != f"{asked.seed} {asked.calls}":
        subprocess.run([os.environ["QALQAN"], "simulate", "--seed", str(asked.seed), "--calls", str(asked.calls), "--records",
                        str(work / "day.parquet"), "--country", str(work / "country")], check=True, stdout=subprocess.DEVNULL)
        made.write_text(f"{asked.seed} {asked.calls}")
        # A cap is state over calls, which a query has not: out of the configuration for both.
        path = work / "country/qalqan.toml"
        path.write_text(re.sub(r"\[trunk\.[^\]]*\.caps\]\n(?:[^\[\n].*\n|\n)*", "", path.read_text()))

    contenders = [
        ("qalqan replay, one core", lambda: run_qalqan(work, 1)),
        ("DuckDB, 1 thread, one core", lambda: run_sql(work, 1, 1)),
        ("qalqan replay, two cores", lambda: run_qalqan(work, None)),
        ("DuckDB, 2 threads, two cores", lambda: run_sql(work, 2, None)),
    ]
    figures = {name: [] for name, _ in contenders}
    for _ in range(asked.rounds):
        for name, run in contenders:
            figures[name].append(run())
    wanted = figures[contenders[0][0]][0]["counts"]
    for name, runs in figures.items():
        for run in runs:
            if run["counts"] != wanted:
                for key in sorted(wanted.keys() | run["counts"].keys()):
                    print(key, wanted.get(key, 0), run["counts"].get(key, 0), file=sys.stderr)
                sys.exit(f"{name} counts otherwise than {contenders[0][0]}")
    assert sum(wanted.values()) == asked.calls, "every call has a verdict"
    print(f"| {asked.calls} calls in Parquet | wall, s | CPU, s | calls/s of wall | calls/s of CPU | memory, MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, runs in figures.items():
        wall, cpu, kib = (statistics.median(run[what] for run in runs) for what in ("wall", "cpu", "kib"))
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {asked.calls / wall / 1e6:.2f} M | {asked.calls / cpu / 1e6:.2f} M "
              f"| {kib / 1024:.0f} |")
    print(f"\nSame counts of {len(wanted)} rules and treatments in every run.")


if sys.argv[1:2] == ["duckdb"]:
    run_duckdb(sys.argv[2:])
else:
    main()
