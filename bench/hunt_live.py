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

    def ask(self, method, path, body=None):
        head = {"Content-Type": "application/json"}
        self.http.request(method, path, None if body is None else json.dumps(body), head)
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

    def metric(self, name):
        lines = self.ask("GET", "/metrics")[1].splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


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
        # Scores that know every call.
        for _ in range(2):
            time.sleep(2)
        heavy = calls.groupby("calling").agg(calls=("called", "size"), trunk=("trunk", "first"), role=("truth", "first"))
        heavy = heavy[heavy.calls >= 40]
        once_more = [{"trunk": one.trunk, "calling": number, "called": "+77019999999"} for number, one in heavy.iterrows()]
        said = node.screen(once_more)
        unseen = node.metric("qalqan_behaviour_unseen_calls_total")
    finally:
        node.process.terminate()
        node.process.wait()
    refused = [one["verdict"] == "block" and one["rule"] == "R18" for one in said]
    return len(rows), unseen, heavy, collections.Counter(heavy.role[refused])


def main():
    asked = argparse.ArgumentParser()
    asked.add_argument("--seeds", default="101,102,103")
    asked.add_argument("--subscribers", type=int, default=40_000)
    asked.add_argument("--days", type=int, default=15)
    asked.add_argument("--until", default="17:30", help="of the last day, UTC")
    asked = asked.parse_args()
    print("| seed | calls | numbers with 40 and more | refused by R18 | of them bad | refused, of all such numbers |")
    print("| ---: | ---: | ---: | ---: | ---: | --- |")
    for seed in asked.seeds.split(","):
        with tempfile.TemporaryDirectory() as work:
            calls, unseen, heavy, refused = judged(pathlib.Path(work), int(seed), asked)
        if unseen:
            raise SystemExit(f"{unseen:.0f} calls were not seen: the node had no time")
        every = collections.Counter(heavy.role)
        roles = [role for role in every if role in BAD or refused[role]]
        told = ", ".join(f"{role} {refused[role]} of {every[role]}" for role in sorted(roles))
        bad = sum(refused[role] for role in BAD)
        print(f"| {seed} | {calls} | {len(heavy)} | {sum(refused.values())} | {bad} | {told} |")


main()
