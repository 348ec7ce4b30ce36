"""The events of a WebSocket API, without sockets."""

from infra.local.ws_events import Facts, connect_event, disconnect_event, message_event

HEADERS = [("Host", "127.0.0.1:9"), ("User-Agent", "agent/1"), ("X-Many", "1"), ("X-Many", "2")]
FACTS = Facts("abc=", "/api?ticket=t%20t&side=agent&side=client", HEADERS, "10.0.0.7", 1_700_000_000_123)


def test_connect_carries_the_request() -> None:
    event = connect_event(FACTS, 1_700_000_000_124)
    assert event["headers"]["X-Many"] == "2"
    assert event["multiValueHeaders"]["X-Many"] == ["1", "2"]
    assert event["queryStringParameters"] == {"ticket": "t t", "side": "client"}
    assert event["multiValueQueryStringParameters"]["side"] == ["agent", "client"]
    context = event["requestContext"]
    assert (context["eventType"], context["routeKey"], context["stage"]) == ("CONNECT", "$connect", "api")
    assert (context["connectedAt"], context["requestTimeEpoch"]) == (1_700_000_000_123, 1_700_000_000_124)
    assert context["requestTime"] == "14/Nov/2023:22:13:20 +0000"
    assert context["identity"] == {"sourceIp": "10.0.0.7", "userAgent": "agent/1"}
    assert context["connectionId"] == "abc="
    assert context["domainName"] == "127.0.0.1:9"


def test_without_a_query_there_are_no_query_fields() -> None:
    event = connect_event(Facts("a=", "/api", HEADERS, "10.0.0.7", 0), 0)
    assert "queryStringParameters" not in event
    assert "multiValueQueryStringParameters" not in event


def test_a_message_carries_its_body_and_no_request() -> None:
    event = message_event(FACTS, '{"a":1}', 1_700_000_001_000)
    assert event["body"] == '{"a":1}'
    assert event["isBase64Encoded"] is False
    assert event["requestContext"]["messageId"]
    assert "headers" not in event


def test_every_invocation_has_its_own_request_id() -> None:
    ids = {message_event(FACTS, "x", 0)["requestContext"]["requestId"] for _ in range(50)}
    assert len(ids) == 50


def test_disconnect_says_why() -> None:
    context = disconnect_event(FACTS, 1001, "Going away", 0)["requestContext"]
    assert (context["disconnectStatusCode"], context["disconnectReason"]) == (1001, "Going away")
    assert context["eventType"] == "DISCONNECT"
