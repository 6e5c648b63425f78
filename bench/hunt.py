"""The learned model beside LightGBM and XGBoost defaults; see bench/hunt."""

import argparse
import os
import pathlib
import subprocess
import tempfile
import time
import warnings

import lightgbm
import numpy
import pandas
import sklearn.datasets
import xgboost
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score
from sklearn.model_selection import train_test_split

warnings.filterwarnings("ignore")


def subscribers(rows, rate, seed, with_calls):
    """A month of subscribers. Fraudsters are SIM boxes and call centres, some of whom hide as real ones do (called by their
    own SIMs, new handsets); couriers, hotlines and honest new SIMs look like them. With calls, fraudsters of one gang
    call the same people, and the columns alone tell less."""
    chance = numpy.random.default_rng(seed)
    kind = chance.choice(5, rows, p=[1 - 0.07 - rate, 0.03, 0.005, 0.035, rate])  # usual, courier, hotline, new, fraud
    fraud, courier, hotline, new = kind == 4, kind == 1, kind == 2, kind == 3
    hides = fraud & (chance.random(rows) < (0.9 if with_calls else 0.6))
    base = chance.lognormal(3, 0.8, rows)
    busy = courier | (fraud & ~hides) | hotline
    outgoing = chance.poisson(base * numpy.where(busy, 8, numpy.where(hides, 2.5, 1)))
    distinct = outgoing * numpy.clip(chance.normal(numpy.where(fraud & ~hides, 0.85, numpy.where(hides, 0.5, numpy.where(busy, 0.7, 0.4))), 0.15), 0.02, 1)
    incoming = chance.poisson(base * numpy.where(fraud & ~hides, 0.1, numpy.where(hotline, 2, 0.8)))
    duration = chance.lognormal(numpy.where(fraud, 3.8, numpy.where(courier, 3.4, 4.3)), 0.7)
    age = numpy.where(fraud | new, chance.exponential(40, rows), chance.exponential(900, rows) + 30)
    imeis = 1 + chance.poisson(numpy.where(fraud & ~hides, 1.5, 0.2))
    frame = pandas.DataFrame({
        "id": [f"s{seed}x{row}" for row in range(rows)],
        "outgoing": outgoing, "distinct_called": distinct.round(), "incoming": incoming,
        "mean_duration_s": duration.round(1), "sim_age_days": age.round(), "imeis": imeis,
        "cells": 1 + chance.poisson(numpy.where(fraud & ~hides, 0.5, numpy.where(hides, 3, 5))), "sms": chance.poisson(base / 3),
        "data_mb": chance.lognormal(numpy.where(fraud, 3.5, 5), 2).round(1),
        "night_share": chance.beta(2, numpy.where(fraud, 15, 12)).round(3),
        "tariff": chance.choice(["start", "family", "business", "tourist"], rows),
        "region": chance.choice([f"r{n:02}" for n in range(17)], rows),
        "activated": pandas.Timestamp("2026-11-01") - pandas.to_timedelta(age.round(), "D"),
    })
    for column in ["data_mb", "cells", "region", "imeis"]:
        frame.loc[chance.random(rows) < 0.1, column] = None
    frame["activated"] = frame.activated.dt.strftime("%Y-%m-%d")
    frame["label"] = numpy.where(fraud, "fraud", "normal")
    edges = None
    if with_calls:
        pairs = []
        gangs = chance.integers(0, max(2, fraud.sum() // 12), rows)
        pools = {gang: chance.integers(0, 2 * rows, 150) for gang in set(gangs[fraud])}
        usual = numpy.flatnonzero(~fraud)
        for row in range(rows):
            for _ in range(min(int(outgoing[row] // 10) + 2, 25)):
                if fraud[row] and chance.random() < 0.5:
                    pairs.append((f"s{seed}x{row}", f"v{chance.choice(pools[gangs[row]])}"))
                else:
                    other = usual[chance.integers(0, len(usual))] if chance.random() < 0.3 else (row + chance.integers(1, 30)) % rows
                    pairs.append((f"s{seed}x{row}", f"s{seed}x{other}"))
        edges = pandas.DataFrame(pairs, columns=["calling", "called"])
    return frame, "id", "label", edges


def bundled(name):
    loaded = getattr(sklearn.datasets, f"load_{name}")(as_frame=True)
    frame = loaded.data.copy()
    label = (loaded.target == 8).astype(int) if name == "digits" else 1 - loaded.target
    frame.insert(0, "id", [f"r{row}" for row in range(len(frame))])
    return frame.assign(label=label), "id", "label", None


def imbalanced(rows, rate, seed):
    values, label = sklearn.datasets.make_classification(
        rows, 30, n_informative=8, n_redundant=6, n_clusters_per_class=4, weights=[1 - rate], flip_y=rate / 5,
        class_sep=1.0, random_state=seed)
    frame = pandas.DataFrame(values, columns=[f"c{n}" for n in range(30)]).mask(
        numpy.random.default_rng(seed).random(values.shape) < 0.05)
    frame.insert(0, "id", [f"r{row}" for row in range(rows)])
    return frame.assign(label=label), "id", "label", None


def figures(truth, score):
    precision, recall, _ = precision_recall_curve(truth, score)
    at = lambda least: recall[precision >= least].max(initial=0.0)
    return [roc_auc_score(truth, score), average_precision_score(truth, score),
            f1_score(truth, score >= 0.5, average="macro"), at(0.95), at(0.99)]


def around(frame, columns, edges, ids):
    """The neighbours' mean of every numeric column, and degrees: what an engineer would add for the other two."""
    place = {name: row for row, name in enumerate(ids)}
    pairs = edges.iloc[:, :2].map(lambda name: place.get(str(name))).dropna().astype(int)
    both = numpy.unique(numpy.vstack([pairs.values, pairs.values[:, ::-1]]), axis=0)
    both = both[both[:, 0] != both[:, 1]]
    numbers = frame[columns].select_dtypes("number")
    means = pandas.DataFrame(numbers.values[both[:, 1]], columns=numbers.columns).groupby(both[:, 0]).mean()
    means = means.reindex(range(len(frame))).add_prefix("around_")
    means["degree"] = numpy.bincount(both[:, 0], minlength=len(frame))
    return pandas.concat([frame[columns].reset_index(drop=True), means], axis=1)


def qalqan(frame, id_column, label, edges, train, work):
    program = os.environ["QALQAN"]
    frame.to_csv(work / "table.csv", index=False)
    (work / "only.txt").write_text("\n".join(frame[id_column].iloc[train].astype(str)) + "\n")
    calls = []
    if edges is not None:
        edges.to_csv(work / "edges.csv", index=False)
        calls = ["--edges", work / "edges.csv"]
    run = lambda *arguments: subprocess.run([program, "hunt", *arguments], check=True, capture_output=True)
    run("train", "--table", work / "table.csv", "--id", id_column, "--label", label, "--only", work / "only.txt",
        "--out", work / "model", *calls)
    # Scored without the labels: whatever the program does, it cannot have seen them.
    frame.drop(columns=[label]).to_csv(work / "table.csv", index=False)
    run("score", "--model", work / "model", "--table", work / "table.csv", "--out", work / "scores.csv", *calls)
    return pandas.read_csv(work / "scores.csv").probability.values


def contest(name, made, options):
    sums = {}
    for split in range(options.splits):
        frame, id_column, label, edges = made(split)
        values = frame[label].astype(str)
        bad = "fraud" if "fraud" in set(values) else max(set(values), key=lambda value: (value != "0", value))
        truth = (values == bad).astype(int).values
        train, test = train_test_split(
            numpy.arange(len(frame)), train_size=options.train, stratify=truth, random_state=split)
        columns = [column for column in frame.columns if column not in (id_column, label)]
        table = frame[columns].copy() if edges is None else around(frame, columns, edges, frame[id_column].astype(str))
        for column in table.select_dtypes(exclude="number"):
            # pandas 3 reads words as str; both libraries want categories.
            table[column] = table[column].astype("category")
        scores = {}
        with tempfile.TemporaryDirectory() as work:
            for contender in ["Qalqan", "LightGBM", "XGBoost"]:
                start = time.monotonic()
                if contender == "Qalqan":
                    score = qalqan(frame, id_column, label, edges, train, pathlib.Path(work))
                elif contender == "LightGBM":
                    model = lightgbm.LGBMClassifier(verbose=-1).fit(table.iloc[train], truth[train])
                    score = model.predict_proba(table)[:, 1]
                else:
                    model = xgboost.XGBClassifier(enable_categorical=True).fit(table.iloc[train], truth[train])
                    score = model.predict_proba(table)[:, 1]
                took = time.monotonic() - start
                scores[contender] = figures(truth[test], score[test]) + [took]
        for contender, row in scores.items():
            sums.setdefault(contender, []).append(row)
    for contender, rows in sums.items():
        cells = [f"{value:.4f}" for value in numpy.mean(rows, axis=0)[:5]]
        print(f"| {name} | {contender} | {' | '.join(cells)} | {numpy.mean(rows, axis=0)[5]:.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--train", type=float, default=0.6)
    parser.add_argument("--table")
    parser.add_argument("--id")
    parser.add_argument("--label")
    parser.add_argument("--edges")
    options = parser.parse_args()
    sets = {}
    if options.table:
        frame = pandas.read_csv(options.table)
        edges = pandas.read_csv(options.edges) if options.edges else None
        sets[pathlib.Path(options.table).stem] = lambda split: (frame, options.id, options.label, edges)
    if options.quick:
        options.splits = 1
        sets["subscribers, 1 in 25, with calls"] = lambda split: subscribers(1_500, 0.04, split, True)
    elif not options.table:
        sets |= {
            "subscribers, 1 in 100": lambda split: subscribers(20_000, 0.01, split, False),
            "subscribers, 1 in 1,000": lambda split: subscribers(60_000, 0.001, split, False),
            "subscribers, 1 in 100, with calls": lambda split: subscribers(10_000, 0.01, split, True),
            "made by scikit-learn, 1 in 50": lambda split: imbalanced(20_000, 0.02, split),
            "made by scikit-learn, 500 rows": lambda split: imbalanced(500, 0.2, split),
            "breast cancer, 569 rows": lambda split: bundled("breast_cancer"),
            "digits, 8 or not, 1,797 rows": lambda split: bundled("digits"),
        }
    print(f"| set, mean of {options.splits} splits | | ROC AUC | average precision | macro F1 | recall at precision 0.95 | at 0.99 | s |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, made in sets.items():
        contest(name, made, options)


main()
