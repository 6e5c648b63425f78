"""Who R18 refuses while calls last, on generated call records; see bench/hunt --live."""

import argparse
import collections
import datetime
import http.client
import json
import os
import pathlib
import subprocess
import tempfile
import time

import pandas

PROGRAM = os.path.abspath(os.environ["QALQAN"])
BAD = ["sim-box", "hiding-sim-box", "call-centre", "trunk-call-centre"]
AT_ONCE = 1000
# 1 MiB at most.
RECORDS_AT_ONCE = 5000


class Node:
    """A node with the shipped thresholds, whose trunks all block by R18 and by no other rule."""

    def __init__(self, work, trunks):
        sections = [
            '[sip]\nlisten = ["127.0.0.1:25898"]\nworkers = 1', '[http]\nlisten = ["127.0.0.1:25899"]',
            "[hunting.live]\nevery-s = 1", '[rules]\nall = "off"\nR18 = "block"',
            *(f'[trunk.{name}]\nclass = "access"\nsource = ["127.1.0.{n + 1}"]' for n, name in enumerate(trunks)),
        ]
        (work / "qalqan.toml").write_text("\n".join(sections) + "\n")
        self.process = subprocess.Popen([PROGRAM, "serve"], cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                self.http = http.client.HTTPConnection("127.0.0.1", 25899)
                if self.ask("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit("the node does not become ready")

    def ask(self, method, path, body=None, kind="application/json"):
        body = body if body is None or kind == "text/csv" else json.dumps(body)
        self.http.request(method, path, body, {"Content-Type": kind})
        answer = self.http.getresponse()
        return answer.status, answer.read().decode()

    def screen(self, calls):
        """What is said of each call."""
        said = []
        for first in range(0, len(calls), AT_ONCE):
            status, body = self.ask("POST", "/v1/screen", calls[first : first + AT_ONCE])
            if status != 200:
                raise SystemExit(f"{status}: {body[:300]}")
            said += json.loads(body)
        return said

    def tell(self, records):
        """Hands over how calls went."""
        for first in range(0, len(records), RECORDS_AT_ONCE):
            csv = records[first : first + RECORDS_AT_ONCE].to_csv(index=False)
            while (answer := self.ask("POST", "/v1/call-records", csv, "text/csv"))[0] == 429:
                time.sleep(0.05)
            if answer[0] != 202:
                raise SystemExit(f"{answer[0]}: {answer[1][:300]}")

    def metric(self, name):
        lines = self.ask("GET", "/metrics")[1].splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def refused(node, heavy):
    """How many of each kind R18 refuses, by scores that know all that was said before."""
    for _ in range(2):
        time.sleep(2)
    once_more = [{"trunk": one.trunk, "calling": number, "called": "+77019999999"} for number, one in heavy.iterrows()]
    said = node.screen(once_more)
    return collections.Counter(heavy.role[[one["verdict"] == "block" and one["rule"] == "R18" for one in said]])


def judged(work, seed, options):
    command = [PROGRAM, "simulate", "--seed", seed, "--call-records", "records.csv", "--subscribers", options.subscribers,
               "--days", options.days]
    subprocess.run([str(word) for word in command], cwd=work, check=True, capture_output=True)
    calls = pandas.read_csv(work / "records.csv", dtype=str)
    calls["start"] = calls.start.astype(int)
    hour, minute = map(int, options.until.split(":"))
    until = calls.start.max() // 86_400 * 86_400 + hour * 3600 + minute * 60
    # The door takes no call of more than a day ago.
    calls = calls[(calls.start > until - 85_000) & (calls.start <= until)].sort_values("start")
    # As if the last were made just now.
    calls["time"] = calls.start + int(time.time()) - until - 1
    calls["trunk"] = "t" + calls.trunk.fillna("access")
    rows = [
        {"trunk": call.trunk, "calling": call.calling, "called": call.called,
         "time": datetime.datetime.fromtimestamp(call.time, datetime.timezone.utc).isoformat()}
        for call in calls.itertuples()
    ]
    node = Node(work, sorted(set(calls.trunk)))
    try:
        node.screen(rows)
        heavy = calls.groupby("calling").agg(calls=("called", "size"), trunk=("trunk", "first"), role=("truth", "first"))
        heavy = heavy[heavy.calls >= 40]
        by_calls = refused(node, heavy)
        told = calls.drop(columns="truth")
        node.tell(told.assign(start=told.time).drop(columns="time"))
        by_records = refused(node, heavy)
        unseen = node.metric("qalqan_behaviour_unseen_calls_total")
    finally:
        node.process.terminate()
        node.process.wait()
    return len(rows), unseen, heavy, (by_calls, by_records)


def main():
    asked = argparse.ArgumentParser()
    asked.add_argument("--seeds", default="101,102,103")
    asked.add_argument("--subscribers", type=int, default=40_000)
    asked.add_argument("--days", type=int, default=15)
    asked.add_argument("--until", default="17:30", help="of the last day, UTC")
    asked = asked.parse_args()
    print("| seed | calls | numbers with 40 and more | known | refused by R18 | of them bad | refused, of all such numbers |")
    print("| ---: | ---: | ---: | --- | ---: | ---: | --- |")
    for seed in asked.seeds.split(","):
        with tempfile.TemporaryDirectory() as work:
            calls, unseen, heavy, both = judged(pathlib.Path(work), int(seed), asked)
        if unseen:
            raise SystemExit(f"{unseen:.0f} calls were not seen: the node had no time")
        every = collections.Counter(heavy.role)
        for known, of_role in zip(["calls", "their records too"], both):
            roles = [role for role in every if role in BAD or of_role[role]]
            told = ", ".join(f"{role} {of_role[role]} of {every[role]}" for role in sorted(roles))
            bad = sum(of_role[role] for role in BAD)
            print(f"| {seed} | {calls} | {len(heavy)} | {known} | {sum(of_role.values())} | {bad} | {told} |")


main()
