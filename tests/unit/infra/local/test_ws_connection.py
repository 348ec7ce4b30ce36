"""When a WebSocket is closed for being idle or old."""

from infra.local.ws_connection import AWS_LIMITS, Limits


def test_the_defaults_are_those_of_aws() -> None:
    assert AWS_LIMITS.message == 131_072
    assert AWS_LIMITS.frame == 32_768
    assert AWS_LIMITS.idle_s == 600
    assert AWS_LIMITS.duration_s == 7200


def test_silence_closes_after_the_idle_limit() -> None:
    assert AWS_LIMITS.left_s(opened=0, last_active=0, now=599) == 1
    assert AWS_LIMITS.left_s(opened=0, last_active=0, now=600) == 0


def test_a_message_postpones_the_idle_close() -> None:
    assert AWS_LIMITS.left_s(opened=0, last_active=500, now=600) == 500


def test_no_message_postpones_the_total_limit() -> None:
    assert Limits().left_s(opened=0, last_active=7199, now=7199) == 1
    assert Limits().left_s(opened=0, last_active=7200, now=7200) == 0
