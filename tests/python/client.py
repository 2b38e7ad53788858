"""A client of a running deployment, generated from the protos: ingests, measures, scores, watches and labels.

    target/servers/bin/python tests/python/client.py records.jsonl

The file holds a CloudTrail record a line. Prints one line of JSON with what came back. Needs grpcio and grpcio-tools.
"""

import argparse
import importlib
import json
import sys
import tempfile
from pathlib import Path

import grpc
from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parents[2] / "proto"
# Where `trailwarden run` listens unless it is told otherwise.
ADDRESSES = {
    "collector": "127.0.0.1:7401",
    "featurizer": "127.0.0.1:7402",
    "scorer": "127.0.0.1:7403",
    "council": "127.0.0.1:7404",
}
# No call without a deadline; this one is long enough for a case to come.
CALL = {"timeout": 60, "wait_for_ready": True}
RECORDS_A_REQUEST = 100


def generate(protos: Path):
    """Generates the client's modules into a temporary folder and imports them."""
    with tempfile.TemporaryDirectory() as folder:
        files = [f"trailwarden/v1/{name}.proto" for name in ("activity", "services")]
        if protoc.main(["protoc", f"-I{protos}", f"--python_out={folder}", f"--grpc_python_out={folder}", *files]) != 0:
            sys.exit("client.py: the protos cannot be compiled")
        sys.path.insert(0, folder)
        names = ("activity_pb2", "services_pb2", "services_pb2_grpc")
        return [importlib.import_module(f"trailwarden.v1.{name}") for name in names]


def ingest(collector, messages, records):
    """Sends all records. Once a request is answered its records are durable, or refused for good."""
    chunks = [records[at : at + RECORDS_A_REQUEST] for at in range(0, len(records), RECORDS_A_REQUEST)]
    requests = (
        messages.IngestRequest(sequence=sequence, stream="python", documents=chunk, lane=messages.LANE_LIVE)
        for sequence, chunk in enumerate(chunks, 1)
    )
    answers = list(collector.Ingest(requests, **CALL))
    return {
        "answers": [answer.sequence for answer in answers],
        "accepted": sum(answer.accepted for answer in answers),
        "duplicates": sum(len(answer.duplicates) for answer in answers),
        "rejected": [[answer.sequence, one.document, one.reason] for answer in answers for one in answer.rejected],
    }


def score(featurizer, scorer, activity, messages):
    """What an activity would be worth if it came next. Nothing is changed by asking."""
    asked = activity.Activity(
        event_id="example",
        event_time_ms=1_789_560_000_000,
        account="111122223333",
        region="eu-west-1",
        service="iam",
        call="CreateAccessKey",
        principal="arn:aws:iam::111122223333:user/example",
        principal_kind=activity.PRINCIPAL_KIND_IAM_USER,
        session="AKIAEXAMPLE",
        credential=activity.CREDENTIAL_LONG_TERM_KEY,
        source="203.0.113.7",
        user_agent="aws-cli/2.27.0",
        read_only=False,
    )
    schema = featurizer.Describe(messages.DescribeRequest(), **CALL)
    measured = featurizer.Measure(messages.MeasureRequest(activities=[asked]), **CALL)
    known = sum(bits.bit_count() for vector in measured.features for bits in vector.known)
    request = messages.ScoreRequest(feature_schema=schema.feature_schema, features=measured.features)
    answer = scorer.Score(request, **CALL)
    return {
        "features": [feature.name for feature in schema.features],
        "schema": schema.feature_schema,
        "known": known,
        "values": sum(len(vector.values) for vector in measured.features),
        "probabilities": [one.probability if one.HasField("probability") else None for one in answer.scores],
        "model": answer.model,
    }


def watch(council, messages):
    """The transitions up to the first case that has ended and is judged malicious."""
    # From the first transition that is still held; 0 would be from now on.
    watching = council.Watch(messages.WatchCasesRequest(from_sequence=1), **CALL)
    seen = []
    for transition in watching:
        seen.append(transition)
        if transition.kind == messages.TRANSITION_KIND_CLOSED and transition.case.verdict == "malicious":
            watching.cancel()
            return seen
    sys.exit("client.py: the council ended the watch")


def label(council, messages, case):
    """Tells what a person found the case to be, and sees that lists and watchers hear of it."""
    request = messages.LabelCaseRequest(id=case.id, verdict="malicious", note="seen by hand", author="ada")
    labelled = council.Label(request, **CALL).label
    listed = council.List(messages.ListCasesRequest(), **CALL).cases
    watching = council.Watch(messages.WatchCasesRequest(from_sequence=1), **CALL)
    told = next(transition for transition in watching if transition.kind == messages.TRANSITION_KIND_LABELLED)
    watching.cancel()
    return {
        "label": [labelled.verdict, labelled.note, labelled.author],
        "listed": [one.id for one in listed],
        "listed_labels": [one.id for one in listed if one.HasField("label")],
        "got": council.Get(messages.GetCaseRequest(id=case.id), **CALL).label.author,
        "told": told.case.id,
    }


def refused(call, request):
    """How a call is refused: its code and the server's words."""
    try:
        call(request, **CALL)
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    return ["OK", ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", type=Path)
    for role, address in ADDRESSES.items():
        parser.add_argument(f"--{role}", default=address, metavar="HOST:PORT")
    parser.add_argument("--protos", type=Path, default=PROTOS, metavar="DIR")
    given = parser.parse_args()
    activity, messages, services = generate(given.protos)

    collector = services.CollectorServiceStub(grpc.insecure_channel(given.collector))
    featurizer = services.FeatureServiceStub(grpc.insecure_channel(given.featurizer))
    scorer = services.ScorerServiceStub(grpc.insecure_channel(given.scorer))
    council = services.CaseServiceStub(grpc.insecure_channel(given.council))

    records = [line for line in given.records.read_bytes().splitlines() if line]
    found = {"ingested": ingest(collector, messages, records)}
    found["scored"] = score(featurizer, scorer, activity, messages)
    transitions = watch(council, messages)
    case = transitions[-1].case
    found["watched"] = {
        "sequences": [transition.sequence for transition in transitions],
        "case": case.id,
        "principal": case.principal,
        "events": list(case.event_ids),
        "line": json.loads(case.line_json),
    }
    found["labelled"] = label(council, messages, case)
    found["refused"] = {
        "approve": refused(council.Approve, messages.ApproveCaseRequest(id=case.id)),
        "deny": refused(council.Deny, messages.DenyCaseRequest(id=case.id)),
        "undo": refused(council.Undo, messages.UndoCaseRequest(id=case.id)),
        "replay": refused(council.Replay, messages.ReplayCaseRequest(id=case.id)),
        "unknown": refused(council.Get, messages.GetCaseRequest(id="nosuchcase")),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(f"client.py: {error.code().name}: {error.details()}")
