"""Resume the audit log after the table was restored from a backup.

    python -m infra.resume_log --data-stack sallyport-data            look, change nothing
    python -m infra.resume_log --data-stack sallyport-data --apply    set the head

Runs with the operator's own AWS credentials: it reads the data stack's outputs, the bucket's `log/` and the log's public key, and
writes the head, marks and one audit event into the table. Exit status 7 where the bucket's log does not continue the head.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

_OUTPUTS = {"SALLYPORT_TABLE": "TableName", "SALLYPORT_BUCKET": "BucketName", "SALLYPORT_LOG_KEY": "LogKeyArn"}
EXIT_NOT_AN_EXTENSION = 7


def main(arguments: Sequence[str] | None = None) -> int:
    """Look, or apply. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.resume_log", description="Resume the audit log after a table restore.")
    parser.add_argument(
        "--data-stack", default="", help="name of the data stack; without it SALLYPORT_* of the environment count"
    )
    parser.add_argument("--table", default="", help="the table, where it was restored under another name")
    parser.add_argument("--apply", action="store_true", help="set the head; without it nothing is changed")
    parser.add_argument(
        "--actor", default=f"operator:{os.environ.get('USER', 'unknown')}", help="who does it, for the audit event"
    )
    asked = parser.parse_args(arguments)
    from chalicelib.ports import Conflict
    from chalicelib.usecases.resume_log import NotAnExtensionError, resume_log

    names = _names(asked.data_stack) | ({"SALLYPORT_TABLE": asked.table} if asked.table else {})
    try:
        found = resume_log(_ports(names), asked.actor, apply=asked.apply)
    except NotAnExtensionError as error:
        print(f"Nothing was changed: {error}.", file=sys.stderr)
        print("This is no late table. Keep both as they are, and compare with a kept checkpoint: sallyport verify --since.")
        return EXIT_NOT_AN_EXTENSION
    except Conflict:
        print("The head moved meanwhile: the sequencer is at work. Look again.", file=sys.stderr)
        return 1
    if found.before == found.after:
        print(f"The head is where the log ends ({found.before.size} entries); nothing to do.")
    elif not asked.apply:
        print(f"The table's head is at {found.before.size} entries, the log in the bucket ends at {found.after.size}.")
        print("Every signature and the whole extension were verified. Again with --apply, and the sequencer goes on from there.")
    else:
        print(f"The head is at {found.after.size} entries now; {found.marked} events are known to be in the log again.")
    return 0


def _names(stack: str) -> dict[str, str]:
    if not stack:
        return {name: os.environ[name] for name in _OUTPUTS}
    import boto3

    outputs = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
    values = {each["OutputKey"]: each["OutputValue"] for each in outputs}
    return {name: values[output] for name, output in _OUTPUTS.items()}


def _ports(names: dict[str, str]) -> Any:
    """Ports of which resuming finds those that it uses."""
    import dataclasses

    import boto3
    from botocore.config import Config

    from chalicelib.adapters.archive import S3Archive
    from chalicelib.adapters.clock import SystemClock
    from chalicelib.adapters.dynamodb import DynamoStore
    from chalicelib.adapters.dynamodb.log import DynamoLog
    from chalicelib.adapters.kms import KmsNotary
    from chalicelib.domain.log_batch import origin
    from chalicelib.ports import Ports

    dynamodb, bucket = boto3.client("dynamodb"), names["SALLYPORT_BUCKET"]
    used: dict[str, Any] = {field.name: None for field in dataclasses.fields(Ports)}
    used |= {
        "clock": SystemClock(),
        "store": DynamoStore(dynamodb, names["SALLYPORT_TABLE"]),
        "log": DynamoLog(dynamodb, names["SALLYPORT_TABLE"]),
        "archive": S3Archive(boto3.client("s3", config=Config(signature_version="s3v4")), bucket),
        "notary": KmsNotary(boto3.client("kms"), names["SALLYPORT_LOG_KEY"], origin(bucket)),
    }
    return Ports(**used)


if __name__ == "__main__":
    sys.exit(main())
