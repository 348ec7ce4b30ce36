"""The stateful resources of `infra/data.yaml`, made through the API calls that CloudFormation would make.

moto's CloudFormation drops Object Lock, versioning and TTL without a word, so the template cannot be used here.
"""

import secrets
from dataclasses import dataclass
from typing import Any

TABLE = "sallyport"
BUCKET = "sallyport-recordings"
ROUTE_SECRET = "sallyport/route"  # noqa: S105 - a name, not the secret
OIDC_CLIENT_SECRET = "sallyport/oidc-client"  # noqa: S105 - a name, not the secret


@dataclass(frozen=True, slots=True)
class Resources:
    """Names and ids of what exists in the embedded cloud."""

    table: str
    stream_arn: str
    bucket: str
    signing_key: str
    ssh_ca_key: str
    log_key: str
    originals_key: str
    route_secret: str
    oidc_client_secret_name: str


def create(boto: Any, oidc_client_secret: str, cors_origin: str) -> Resources:
    """Creates everything. `boto(service)` makes a client; `cors_origin` may read recordings in a browser."""
    return Resources(
        table=TABLE,
        stream_arn=_table(boto("dynamodb")),
        bucket=_bucket(boto("s3"), cors_origin),
        signing_key=_signing_key(boto("kms"), "sallyport access tokens"),
        ssh_ca_key=_signing_key(boto("kms"), "sallyport ssh certificate authority"),
        log_key=_signing_key(boto("kms"), "sallyport transparency log and manifests"),
        originals_key=_wrapping_key(boto("kms"), "sallyport keys of sealed originals"),
        route_secret=_secret(boto, ROUTE_SECRET, SecretBinary=secrets.token_bytes(32)),
        oidc_client_secret_name=_secret(boto, OIDC_CLIENT_SECRET, SecretString=oidc_client_secret),
    )


def _table(dynamodb: Any) -> str:
    def key(hash_name: str, range_name: str) -> list[dict[str, str]]:
        return [
            {"AttributeName": hash_name, "KeyType": "HASH"},
            {"AttributeName": range_name, "KeyType": "RANGE"},
        ]

    names = ("pk", "sk", "gsi1pk", "gsi1sk", "gsi2pk", "gsi2sk")
    description = dynamodb.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        KeySchema=key("pk", "sk"),
        GlobalSecondaryIndexes=[
            {
                "IndexName": index,
                "KeySchema": key(f"{index}pk", f"{index}sk"),
                "Projection": {"ProjectionType": "ALL"},
            }
            for index in ("gsi1", "gsi2")
        ],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    dynamodb.update_time_to_live(TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})
    return str(description["TableDescription"]["LatestStreamArn"])


def _bucket(s3: Any, cors_origin: str) -> str:
    # Object Lock switches versioning on, for ever.
    s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    rule = {"AllowedMethods": ["GET", "HEAD"], "AllowedOrigins": [cors_origin], "ExposeHeaders": ["ETag"]}
    s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})
    return BUCKET


def _signing_key(kms: Any, description: str) -> str:
    made = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY", Description=description)
    return str(made["KeyMetadata"]["KeyId"])


def _wrapping_key(kms: Any, description: str) -> str:
    return str(kms.create_key(Description=description)["KeyMetadata"]["KeyId"])


def _secret(boto: Any, name: str, **value: Any) -> str:
    boto("secretsmanager").create_secret(Name=name, **value)
    return name
