"""Which failures of AWS are its being slow or busy: nobody's mistake, and gone when it is tried again."""

from __future__ import annotations

from typing import Final

#: What DynamoDB, S3, KMS and API Gateway say when they want to be asked again later.
_AGAIN: Final = frozenset(
    {
        "InternalError",
        "InternalServerError",
        "KMSInternalException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)


def is_busy(error: Exception) -> bool:
    """Return True if AWS did not answer in time, or asked to be asked again. Whether it did what was asked is not known."""
    # Only what has failed pays for the import.
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        return error.response.get("Error", {}).get("Code") in _AGAIN
    return isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError)
