"""The WebSocket API over real sockets: every limit of API Gateway that the tunnel must live with."""

import asyncio
import contextlib
import json
import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from infra.local.chaos import CALM, Chaos
from infra.local.cloud import EmbeddedCloud
from infra.local.gateway_ws import WebSocketGateway
from infra.local.sigv4 import KeyPair
from infra.local.ws_connection import AWS_LIMITS, Functions, Limits
from tests.patience import HANG_S

pytestmark = pytest.mark.servers
KEYS = KeyPair("EMBEDDEDTEST", "secret", "us-east-1")


def open_socket(cloud: EmbeddedCloud, query: str = "", **options: Any) -> Any:
    return connect(cloud.ws_url + query, compression=None, max_size=None, **options)


async def established(probe: Any, ws: ClientConnection) -> str:
    """The connection id of a socket, once a message of it went all the way around."""
    marker = f"whoami-{id(ws)}"
    await ws.send(marker)
    await asyncio.to_thread(probe.wait, lambda: any(e.get("body") == marker for e in probe.events))
    return next(e["requestContext"]["connectionId"] for e in probe.events if e.get("body") == marker)


async def closed_with(ws: ClientConnection) -> int | None:
    """The code the socket was closed with; fails when it stays open."""
    async with asyncio.timeout(HANG_S):
        await ws.wait_closed()
    return ws.close_code


async def test_events_have_the_shape_that_aws_sends(cloud: EmbeddedCloud, probe: Any) -> None:
    async with open_socket(cloud, "?a=1&a=2&b=", additional_headers={"X-Agent": "seven"}) as ws:
        connection_id = await established(probe, ws)
    await asyncio.to_thread(probe.wait, lambda: probe.of("DISCONNECT", connection_id))
    (opened,), (said,), (closed,) = (probe.of(kind, connection_id) for kind in ("CONNECT", "MESSAGE", "DISCONNECT"))
    assert opened["requestContext"]["routeKey"] == "$connect"
    assert opened["headers"]["X-Agent"] == "seven"
    assert opened["multiValueHeaders"]["X-Agent"] == ["seven"]
    assert opened["queryStringParameters"] == {"a": "2", "b": ""}
    assert opened["multiValueQueryStringParameters"] == {"a": ["1", "2"], "b": [""]}
    assert said["requestContext"]["routeKey"] == "$default"
    assert "headers" not in said
    assert "queryStringParameters" not in said
    assert closed["requestContext"]["disconnectStatusCode"] == 1000
    for event in (opened, said, closed):
        context = event["requestContext"]
        assert context["stage"] == "api"
        assert context["identity"]["sourceIp"] == "127.0.0.1"
        assert context["domainName"] == cloud.ws_url.split("/")[2]
        assert context["connectedAt"] <= context["requestTimeEpoch"]
    context = probe.contexts[-1]
    assert context.function_name == "websocket_disconnect"
    assert 0 < context.get_remaining_time_in_millis() <= 60_000


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_connect_refuses_the_handshake_with_its_own_status(cloud: EmbeddedCloud, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await open_socket(cloud, f"?status={status}")
    assert refused.value.response.status_code == status


async def test_connect_that_raises_is_a_bad_gateway(cloud: EmbeddedCloud) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await open_socket(cloud, "?raise=1")
    assert refused.value.response.status_code == 502


async def test_another_stage_is_forbidden(cloud: EmbeddedCloud) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(cloud.ws_url.replace("/api", "/other"))
    assert refused.value.response.status_code == 403


async def test_connect_chooses_the_subprotocol(cloud: EmbeddedCloud) -> None:
    async with open_socket(cloud, "?protocol=tunnel.1", subprotocols=["tunnel.1", "other"]) as ws:
        assert ws.subprotocol == "tunnel.1"


async def test_posting_during_connect_is_gone(cloud: EmbeddedCloud, probe: Any) -> None:
    async with open_socket(cloud, "?post=1") as ws:
        await ws.send("echo afterwards")
        assert await ws.recv() == "afterwards"
    assert probe.connect_post_error == "Gone"


async def test_no_compression_is_negotiated(cloud: EmbeddedCloud) -> None:
    async with connect(cloud.ws_url, compression="deflate") as ws:
        assert ws.protocol.extensions == []


async def test_binary_frames_close_with_1003(cloud: EmbeddedCloud) -> None:
    async with open_socket(cloud) as ws:
        await ws.send(b"\x00\x01")
        assert await closed_with(ws) == 1003


async def test_the_largest_message_in_the_largest_frames_arrives(cloud: EmbeddedCloud, probe: Any) -> None:
    async with open_socket(cloud) as ws:
        await ws.send(["x" * AWS_LIMITS.frame] * 4)
        await asyncio.to_thread(probe.wait, lambda: probe.of("MESSAGE"))
    assert len(probe.of("MESSAGE")[0]["body"]) == AWS_LIMITS.message


async def test_a_larger_message_closes_with_1009(cloud: EmbeddedCloud, probe: Any) -> None:
    async with open_socket(cloud) as ws:
        with contextlib.suppress(ConnectionClosed):
            await ws.send([*["x" * AWS_LIMITS.frame] * 4, "y"])
        assert await closed_with(ws) == 1009
    assert probe.of("MESSAGE") == []


async def test_a_larger_frame_closes_with_1009(cloud: EmbeddedCloud) -> None:
    async with open_socket(cloud) as ws:
        await ws.send("x" * (AWS_LIMITS.frame + 1))
        assert await closed_with(ws) == 1009


async def test_a_failing_function_is_told_to_the_sender(cloud: EmbeddedCloud, probe: Any) -> None:
    async with open_socket(cloud) as ws:
        connection_id = await established(probe, ws)
        await ws.send("raise")
        failure = json.loads(await ws.recv())
    assert failure["message"] == "Internal server error"
    assert failure["connectionId"] == connection_id
    assert failure["requestId"]


async def test_messages_of_one_connection_run_at_the_same_time(cloud: EmbeddedCloud, probe: Any) -> None:
    """Each function waits for the two others: one after the other, none would ever finish."""
    probe.gate = threading.Barrier(3)
    async with open_socket(cloud) as ws:
        for at in range(3):
            await ws.send(f"gate {at}")
        await asyncio.to_thread(probe.wait, lambda: len(probe.of("MESSAGE")) == 3)


async def test_messages_are_delivered_out_of_order(cloud: EmbeddedCloud) -> None:
    cloud.gateway.chaos = Chaos(seed=1, reorder=0.2, hold_s=0.03)
    try:
        async with open_socket(cloud) as ws:
            for at in range(60):
                await ws.send(f"echo {at}")
            arrived = [int(await ws.recv()) for _ in range(60)]
    finally:
        cloud.gateway.chaos = CALM
    assert sorted(arrived) == list(range(60))
    assert arrived != sorted(arrived)


async def test_post_get_and_delete_through_boto(cloud: EmbeddedCloud, probe: Any) -> None:
    api = cloud.boto("apigatewaymanagementapi")
    async with open_socket(cloud, user_agent_header="tester/1") as ws:
        connection_id = await established(probe, ws)
        await asyncio.to_thread(api.post_to_connection, ConnectionId=connection_id, Data="grüß".encode())
        assert await ws.recv() == "grüß"
        about = await asyncio.to_thread(api.get_connection, ConnectionId=connection_id)
        assert about["Identity"] == {"SourceIp": "127.0.0.1", "UserAgent": "tester/1"}
        assert about["ConnectedAt"] <= about["LastActiveAt"]
        await asyncio.to_thread(api.delete_connection, ConnectionId=connection_id)
        assert await closed_with(ws) == 1000


async def refusal(call: Any, **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as raised:
        await asyncio.to_thread(call, **arguments)
    answer = raised.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


async def test_posting_is_gone_after_the_close(cloud: EmbeddedCloud, probe: Any) -> None:
    api = cloud.boto("apigatewaymanagementapi")
    async with open_socket(cloud) as ws:
        connection_id = await established(probe, ws)
    await asyncio.to_thread(probe.wait, lambda: probe.of("DISCONNECT", connection_id))
    gone = (410, "GoneException")
    assert await refusal(api.post_to_connection, ConnectionId=connection_id, Data=b"x") == gone
    assert await refusal(api.get_connection, ConnectionId=connection_id) == gone
    assert await refusal(api.delete_connection, ConnectionId=connection_id) == gone
    assert await refusal(api.post_to_connection, ConnectionId="bm9uZQ==", Data=b"x") == gone


async def test_posting_too_much_is_refused(cloud: EmbeddedCloud, probe: Any) -> None:
    api = cloud.boto("apigatewaymanagementapi")
    async with open_socket(cloud) as ws:
        connection_id = await established(probe, ws)
        most = b"x" * AWS_LIMITS.message
        await asyncio.to_thread(api.post_to_connection, ConnectionId=connection_id, Data=most)
        assert len(await ws.recv()) == AWS_LIMITS.message
        too_large = await refusal(api.post_to_connection, ConnectionId=connection_id, Data=most + b"x")
        assert too_large == (413, "PayloadTooLargeException")
        not_text = await refusal(api.post_to_connection, ConnectionId=connection_id, Data=b"\xff")
        assert not_text == (400, "BadRequestException")


async def test_a_reader_that_does_not_read_fills_its_buffer(cloud: EmbeddedCloud, probe: Any) -> None:
    api = cloud.boto("apigatewaymanagementapi")
    cloud.gateway.chaos = Chaos(delay_s=(60.0, 60.0))
    try:
        async with open_socket(cloud) as ws:
            connection_id = next(iter(cloud.gateway.live))
            for _ in range(2):
                await asyncio.to_thread(api.post_to_connection, ConnectionId=connection_id, Data=b"x" * 128_000)
            full = await refusal(api.post_to_connection, ConnectionId=connection_id, Data=b"x" * 128_000)
            assert full == (429, "LimitExceededException")
            await ws.close()
    finally:
        cloud.gateway.chaos = CALM


async def test_unsigned_posts_are_forbidden(cloud: EmbeddedCloud, probe: Any) -> None:
    async with open_socket(cloud) as ws:
        connection_id = await established(probe, ws)
        port = int(cloud.gateway.callback_url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST /@connections/{connection_id} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 403 ")
        writer.close()


async def test_killed_sockets_disconnect_with_1006(cloud: EmbeddedCloud, probe: Any) -> None:
    async with open_socket(cloud, "?keep=1") as kept, open_socket(cloud, "?keep=0") as lost:
        lost_id, kept_id = await established(probe, lost), await established(probe, kept)
        killed = await asyncio.to_thread(cloud.gateway.kill, lambda socket: socket.connection_id == lost_id)
        assert killed == 1
        assert await closed_with(lost) == 1006
        await asyncio.to_thread(probe.wait, lambda: probe.of("DISCONNECT", lost_id))
        assert probe.of("DISCONNECT", lost_id)[0]["requestContext"]["disconnectStatusCode"] == 1006
        assert [s.connection_id for s in await asyncio.to_thread(cloud.gateway.sockets)] == [kept_id]


class Recorder:
    """The least that the gateway needs for functions."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.codes: list[int] = []

    def functions(self) -> Functions:
        return Functions(
            connect=lambda event, context: {"statusCode": 200},
            message=lambda event, context: self.messages.append(event["body"]),
            disconnect=lambda event, context: self.codes.append(event["requestContext"]["disconnectStatusCode"]),
        )


async def with_gateway(talk: Any, **options: Any) -> Recorder:
    recorder = Recorder()
    gateway = WebSocketGateway(KEYS, **options)
    await asyncio.to_thread(gateway.start, recorder.functions())
    try:
        await talk(gateway)
    finally:
        await asyncio.to_thread(gateway.stop)
    return recorder


async def test_an_idle_socket_is_closed() -> None:
    async def stay_silent(gateway: WebSocketGateway) -> None:
        async with connect(gateway.url) as ws:
            assert await closed_with(ws) == 1001

    recorder = await with_gateway(stay_silent, limits=Limits(idle_s=0.1))
    assert recorder.codes == [1001]


async def test_a_busy_socket_ends_at_the_total_duration_too() -> None:
    async def keep_talking(gateway: WebSocketGateway) -> None:
        async with connect(gateway.url) as ws:
            with contextlib.suppress(ConnectionClosed):
                for _ in range(1000):
                    await ws.send("still here")
                    await asyncio.sleep(0.01)
            assert ws.close_code == 1001

    recorder = await with_gateway(keep_talking, limits=Limits(idle_s=60, duration_s=1.0))
    assert recorder.messages
    assert recorder.codes == [1001]


async def test_sockets_are_killed_on_schedule() -> None:
    async def be_killed(gateway: WebSocketGateway) -> None:
        async with connect(gateway.url + "?who=agent") as agent, connect(gateway.url + "?who=client") as client:
            assert await closed_with(agent) == 1006
            await client.send("alive")

    chaos = Chaos(kill_every_s=0.1, kill_if=lambda socket: socket.ordinal == 0)
    recorder = await with_gateway(be_killed, chaos=chaos)
    assert sorted(recorder.codes) == [1000, 1006]
    assert recorder.messages == ["alive"]


async def test_dropped_messages_never_reach_the_function() -> None:
    chaos = Chaos(seed=3, drop=0.5)

    async def send(gateway: WebSocketGateway) -> None:
        async with connect(gateway.url) as ws:
            for at in range(40):
                await ws.send(str(at))

    recorder = await with_gateway(send, chaos=chaos)
    expected = [str(at) for at in range(40) if not chaos.fate("up", 0, at).dropped]
    assert sorted(recorder.messages, key=int) == expected
    assert 0 < len(expected) < 40


async def test_a_flood_from_one_client_is_taken_in_turns() -> None:
    """More messages than may be in flight: all arrive, because the socket waits."""

    async def flood(gateway: WebSocketGateway) -> None:
        async with connect(gateway.url) as ws:
            for at in range(300):
                await ws.send(str(at))

    recorder = await with_gateway(flood, limits=Limits(in_flight=4), workers=2)
    assert sorted(map(int, recorder.messages)) == list(range(300))


async def test_stopping_says_goodbye() -> None:
    recorder = Recorder()
    gateway = WebSocketGateway(KEYS)
    await asyncio.to_thread(gateway.start, recorder.functions())
    async with connect(gateway.url) as ws:
        await asyncio.to_thread(gateway.stop)
        assert await closed_with(ws) == 1001
    assert recorder.codes == [1001]
