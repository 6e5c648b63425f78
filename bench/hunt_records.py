"""Signals and the learned model on generated call records, one bad number in a thousand, beside LightGBM and XGBoost with their
defaults; see bench/hunt --records."""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile

import lightgbm
import pandas
import xgboost

# Run in other directories: a path beside this one would be lost.
PROGRAM = os.path.abspath(os.environ["QALQAN"])
ALARMS_PER_MILLION_A_DAY = [10, 30, 100, 300]
BAD = ["sim-box", "hiding-sim-box", "call-centre", "trunk-call-centre"]


def qalqan(work, *arguments):
    subprocess.run([PROGRAM, *map(str, arguments)], cwd=work, check=True, capture_output=True)


def country(work, seed, options):
    """What every number is, what the signals rank, and a table of how each number behaves, for the model."""
    qalqan(work, "simulate", "--seed", seed, "--call-records", "records.csv", "--subscribers", options.subscribers,
           "--days", options.days)
    qalqan(work, "hunt", "records.csv", "--out", "found.jsonl")
    calls = pandas.read_csv(work / "records.csv", dtype={"calling": str, "called": str})
    # The role of one who never calls is not told, and nobody could find him.
    roles = calls.groupby("calling").truth.first()
    clusters = [json.loads(line) for line in (work / "found.jsonl").read_text().splitlines()]
    # In the order in which a person is shown them.
    ranked = [number["number"] for cluster in clusters for number in cluster["numbers"] if number["is_alarm"]]
    calls = calls.assign(day=calls.start // 86_400, short=calls.duration < 15, long=calls.duration > 300)
    days = calls.groupby(["calling", "day"]).agg(
        outgoing=("called", "size"), distinct=("called", "nunique"), answered=("answered", "mean"),
        short=("short", "mean"), long=("long", "mean"),
        cells=("cell", "nunique"), imeis=("imei", "nunique")).reset_index(level="day")
    busiest = days.sort_values("outgoing").groupby(level=0).tail(1).drop(columns="day")
    first = days.groupby(level=0).day.agg(["min", "size"])
    table = busiest.assign(
        spread=busiest.distinct / busiest.outgoing, days=first["size"], first_seen=first["min"] - calls.day.min(),
        incoming=calls.groupby("called").size().reindex(busiest.index, fill_value=0) / first["size"],
        devices=calls.groupby("calling").imei.nunique(), role=roles)
    return roles, ranked, table.rename_axis("id").reset_index()


def learned(work, table, other):
    """Ranks a country by a model that learned from another one."""
    for name, rows in [("train", other), ("score", table)]:
        rows.drop(columns="role").assign(label=rows.role.isin(BAD).map({True: "fraud", False: "normal"})).to_csv(
            work / f"{name}.csv", index=False)
    qalqan(work, "hunt", "train", "--table", "train.csv", "--id", "id", "--label", "label", "--out", "model")
    qalqan(work, "hunt", "score", "--model", "model", "--table", "score.csv", "--out", "scores.csv")
    scores = pandas.read_csv(work / "scores.csv", dtype={"id": str})
    return list(scores.sort_values("probability", ascending=False, kind="stable").id)


def by_defaults(kind, table, other):
    """Ranks it by another library's model with its defaults, learned from the same columns."""
    columns = lambda rows: rows.drop(columns=["id", "role"]).astype(float)
    model = kind().fit(columns(other), other.role.isin(BAD))
    scored = table.assign(score=model.predict_proba(columns(table))[:, 1])
    return list(scored.sort_values("score", ascending=False, kind="stable").id)


def curve(ranked, bad):
    """Alarms and right ones, after each alarm."""
    right, points = 0, []
    for alarms, number in enumerate(ranked, 1):
        right += number in bad
        points.append((alarms, right))
    return points


def row(seed, how, ranked, roles, options):
    bad = set(roles.index[roles.isin(BAD)])
    points = curve(ranked, bad)
    among = lambda most: max((right for alarms, right in points if alarms <= most), default=0)
    recall = [among(a * options.subscribers * options.days // 1_000_000) / len(bad) for a in ALARMS_PER_MILLION_A_DAY]
    at = lambda least: max((right for alarms, right in points if right >= least * alarms), default=0) / len(bad)
    cells = [f"{value:.2f}" for value in [*recall, at(0.95), at(0.99)]]
    print(f"| {seed} | {how} | {len(bad)} | {' | '.join(cells)} |", flush=True)
    return points, len(bad)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="101,102,103", help="countries; a model scores one and learns from the one before")
    parser.add_argument("--subscribers", type=int, default=40_000)
    parser.add_argument("--days", type=int, default=15)
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    if len(set(seeds)) < 2:
        parser.error("--seeds: two at least, or the model would be scored on what it learned from")
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        countries = [country(work, seed, options) for seed in seeds]
        heads = [f"recall at {alarms}" for alarms in ALARMS_PER_MILLION_A_DAY]
        print(f"| seed | by | bad | {' | '.join(heads)} | at precision 0.95 | at 0.99 |")
        print(f"| ---: | --- | {'---: | ' * 7}", flush=True)
        curves = []
        for n, (roles, ranked, table) in enumerate(countries):
            other = countries[n - 1][2]
            for how, ranked in [
                ("signals", ranked),
                ("model", learned(work, table, other)),
                ("LightGBM", by_defaults(lambda: lightgbm.LGBMClassifier(verbose=-1), table, other)),
                ("XGBoost", by_defaults(xgboost.XGBClassifier, table, other)),
            ]:
                curves.append((seeds[n], how, *row(seeds[n], how, ranked, roles, options)))
    print("\nPrecision and recall after so many alarms per million numbers, over all days:\n")
    counts = [250, 500, 750, 1000, 1500, 2000]
    print(f"| seed | by | {' | '.join(map(str, counts))} |")
    print(f"| ---: | --- | {'---: | ' * len(counts)}")
    for seed, how, points, bad in curves:
        cells = []
        for count in counts:
            most = count * options.subscribers // 1_000_000
            # Signals may have no more alarms to give.
            alarms, right = max((point for point in points if point[0] <= most), default=(0, 0))
            cells.append(f"{right / alarms:.2f}, {right / bad:.2f}" if alarms else "-")
        print(f"| {seed} | {how} | {' | '.join(cells)} |")
    print("\nAlarms of signals, by what the numbers are:\n")
    for seed, (roles, ranked, _) in zip(seeds, countries):
        found = roles[ranked].value_counts().to_dict()
        print(f"{seed}: " + ", ".join(f"{role} {n} of {(roles == role).sum()}" for role, n in found.items()))


main()
