"""Writes the demo incident: `incident.jsonl` (a raw record a line) and `truth.jsonl`.

    python3 services/cli/demo/author.py

Deterministic: two runs write the same bytes. It fails when the story breaks one of the promises of the README.
"""

import collections
import datetime
import json
import pathlib
import sys

sys.dont_write_bytecode = True

import intrusion  # noqa: E402
import ordinary  # noqa: E402
from organisation import MANAGEMENT, PRODUCTION, SECURITY, STAGING, World  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
DUPLICATES = 6


def main():
    world = World()
    ordinary.two_days(world)
    truth = intrusion.intrude(world)
    records = sorted(world.records(), key=lambda record: record["eventTime"])
    delivered = deliver_some_twice(records, truth)
    figures = check(records, delivered, truth)
    write("incident.jsonl", delivered)
    write(
        "truth.jsonl",
        [
            {"event_id": record["eventID"], "campaign": intrusion.CAMPAIGN, "technique": truth[record["eventID"]]}
            for record in records
            if record["eventID"] in truth
        ],
    )
    print(json.dumps(figures))


def deliver_some_twice(records, truth):
    """Overlapping trails deliver a record again a little later; one of the copies is of the attack."""
    innocent = [index for index, record in enumerate(records) if record["eventID"] not in truth]
    guilty = [index for index, record in enumerate(records) if record["eventID"] in truth]
    chosen = set(innocent[20 :: len(innocent) // DUPLICATES][: DUPLICATES - 1]) | {guilty[len(guilty) // 2]}
    delivered, late = [], []
    for index, record in enumerate(records):
        delivered.append(record)
        delivered.extend(copy for due, copy in late if due == index)
        if index in chosen:
            late.append((min(index + 7, len(records) - 1), record))
    return delivered


def check(records, delivered, truth):
    ids = collections.Counter(record["eventID"] for record in delivered)
    times = [datetime.datetime.fromisoformat(record["eventTime"]) for record in records if record["eventID"] in truth]
    shared = collections.Counter(record["sharedEventID"] for record in records if record.get("sharedEventID"))
    figures = {
        "records": len(delivered),
        "distinct": len(records),
        "delivered_twice": sum(count == 2 for count in ids.values()),
        "attack_events": len(truth),
        "attack_minutes": int((max(times) - min(times)).total_seconds()) // 60,
        "shared_pairs": sum(count == 2 for count in shared.values()),
        "accounts": {
            account: sum(record["recipientAccountId"] == account for record in records)
            for account in (MANAGEMENT, PRODUCTION, STAGING, SECURITY)
        },
        "identity_types": dict(sorted(collections.Counter(record["userIdentity"]["type"] for record in records).items())),
    }
    assert len(set(ids)) == len(records) and max(ids.values()) == 2 and figures["delivered_twice"] == DUPLICATES
    assert 300 <= len(delivered) <= 500 and 60 <= figures["attack_minutes"] <= 80, figures
    assert all(figures["accounts"].values()), figures
    assert figures["shared_pairs"] >= 1
    story = (HERE / "README.md").read_text()
    for count, words in ((len(records), "CloudTrail records"), (len(truth), "records of the attack")):
        assert f"{count} {words}" in story, f"README.md should say {count} {words}"
    assert_lineage(records, truth)
    return figures


def assert_lineage(records, truth):
    """Every credential of the attack but the leaked one was issued by an earlier record of the attack."""
    issued = set()
    for record in (record for record in records if record["eventID"] in truth):
        key = record["userIdentity"].get("accessKeyId")
        assert key in issued or key in (None, intrusion.PIPELINE_KEY), record["eventName"]
        response = record["responseElements"] or {}
        for part in ("credentials", "accessKey"):
            issued.add(response.get(part, {}).get("accessKeyId"))


def write(name, rows):
    (HERE / name).write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))


if __name__ == "__main__":
    main()
