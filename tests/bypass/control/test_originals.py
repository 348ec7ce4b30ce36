"""Attempts to read sealed originals that nobody agreed to, each beside its innocent twin."""

from __future__ import annotations

import base64

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.runtime.sealing import Sealer
from chalicelib.contracts import originals
from chalicelib.contracts.api_originals import UnmaskUse
from chalicelib.contracts.approval import RequestState, Vote
from chalicelib.contracts.audit_requests import OriginalsRefused, OriginalsUnmasked
from chalicelib.contracts.originals import SealingKey
from chalicelib.usecases.end_request import of_session, revoke_request, withdraw_operation
from chalicelib.usecases.request_approval import standing
from chalicelib.usecases.unmask_session import unmask_session
from tests.fakes.originals import DINA, IP, SECRET, WILL, SealedWorld, plain
from tests.fakes.world import ADMIN, ALICE, MALLORY, person
from tests.unit.chalicelib.usecases.expecting import fault

#: A second account of dina's, in the group that is asked.
DINA_ADMIN = msgspec.structs.replace(person("dina-admin", "platform"), email="dina@example.com")
USE = "a-use-of-this-yes"


@pytest.fixture
def world() -> SealedWorld:
    return SealedWorld.made()


def refusals(world: SealedWorld) -> list[str]:
    return [event.code for event in world.store.recorded if isinstance(event, OriginalsRefused)]


def test_innocent(world: SealedWorld) -> None:
    sid = world.recorded()
    found = world.unmasked(world.agreed(sid).rid, sid)
    assert plain(found, world.sealed(sid)[1]) == SECRET
    assert refusals(world) == []


# -- without a second person ---------------------------------------------------------------------------------------------------


def test_without_an_answer(world: SealedWorld) -> None:
    sid = world.recorded()
    with fault("approval_required"):
        world.unmask(world.asks(sid).rid, sid)
    assert (world.vault.opened, refusals(world)) == (0, ["approval_required"])


def test_with_a_no(world: SealedWorld) -> None:
    sid = world.recorded()
    request = world.says(ADMIN, world.asks(sid), approve=False)
    with fault("approval_over"):
        world.unmask(request.rid, sid)


def test_own_approval(world: SealedWorld) -> None:
    sid = world.recorded()
    admin = msgspec.structs.replace(DINA, groups=[*DINA.groups, "platform"])
    world.login(admin)
    request = world.asks(sid, admin)
    with fault("own_request"):
        world.says(admin, request)
    with fault("approval_required"):
        world.unmask(request.rid, sid, admin)


def test_own_approval_with_another_account(world: SealedWorld) -> None:
    world.login(msgspec.structs.replace(DINA, email="dina@example.com"))
    world.login(DINA_ADMIN)
    request = world.asks(world.recorded())
    with fault("own_request"):
        world.says(DINA_ADMIN, request)


def test_an_administrator_is_nobody_special(world: SealedWorld) -> None:
    sid = world.recorded()
    with fault("unknown_session"):
        world.asks(sid, ADMIN)
    request = world.agreed(sid)
    with fault("unknown_request"):
        world.unmask(request.rid, sid, ADMIN)


def test_a_yes_that_was_taken_back(world: SealedWorld) -> None:
    from chalicelib.contracts.api_requests import RequestEnd

    sid = world.recorded()
    request = world.agreed(sid)
    revoke_request(world.ports, ADMIN, request.rid, RequestEnd(), IP)
    with fault("approval_over"):
        world.unmask(request.rid, sid)


def test_a_row_that_says_approved_and_names_nobody_else(world: SealedWorld) -> None:
    """Somebody who can write the table forges the outcome, and forgets the other person, or takes themselves for one."""
    sid = world.recorded()
    request = world.asks(sid)
    for votes in ([], [Vote(voter=DINA.sub, approve=True, groups=["platform"], time_ms=1)]):
        case = world.store.kept_cases[request.rid]
        forged = msgspec.structs.replace(
            case.request, state=RequestState.APPROVED, until_ms=world.clock.now + 60_000, votes=votes
        )
        world.store.kept_cases[request.rid] = msgspec.structs.replace(case, request=forged)
        with fault("approval_mismatch"):
            world.unmask(request.rid, sid)
    assert world.vault.opened == 0


# -- somebody else's, something else's -----------------------------------------------------------------------------------------


def test_somebody_elses_yes(world: SealedWorld) -> None:
    sid = world.recorded()
    request = world.agreed(sid)
    for who in (MALLORY, ALICE, WILL):
        with fault("unknown_request"):
            world.unmask(request.rid, sid, who)


def test_a_yes_to_erase_does_not_unmask_and_the_other_way_round(world: SealedWorld) -> None:
    sid = world.recorded()
    request = world.agreed(sid)
    with fault("unknown_request"):
        world.erase(request.rid)


def test_another_sessions_originals_under_this_yes(world: SealedWorld) -> None:
    sid, other = world.recorded(), world.recorded(b"other\n")
    request = world.agreed(sid)
    header, _ = world.sealed(other)
    swapped = base64.b64encode(header.content).decode()
    with fault("log_behind"):
        world.unmask(request.rid, sid, use=USE, content=swapped)
    world.log_catches_up()
    with fault("originals_mismatch"):
        world.unmask(request.rid, sid, use=USE, content=swapped)
    assert refusals(world) == ["originals_mismatch"]


def test_another_sessions_chunk_swapped_in(world: SealedWorld) -> None:
    """The records of one session under the content key of another, and records of one session in each other's place."""
    sid, other = world.recorded(b"1\n", b"2\n"), world.recorded(b"other\n", b"more\n")
    found = world.unmasked(world.agreed(sid).rid, sid)
    with pytest.raises(InvalidTag):
        plain(found, world.sealed(other)[1])
    with pytest.raises(InvalidTag):
        plain(found, world.sealed(sid)[1][::-1])


def test_the_key_of_another_month(world: SealedWorld) -> None:
    sid = world.recorded()
    before = world.key()
    world.clock.advance(40 * 24 * 3600)
    now = world.clock.now // 1000
    admin, dina = (msgspec.structs.replace(who, iat=now, exp=now + 3600) for who in (ADMIN, DINA))
    for who in (admin, dina):
        world.login(who)
    later = world.recorded()
    after = world.key()
    assert before.name != after.name
    # The wrapped key of one month in the row of the other: KMS binds it to its own.
    world.store.originals[before.target, before.month] = msgspec.structs.replace(after, month=before.month)
    request = world.says(admin, world.asks(sid, dina))
    with fault("originals_mismatch"):
        world.unmasked(request.rid, sid, dina)
    # And originals of one month in the place of the other's.
    world.store.originals[before.target, before.month] = before
    request = world.says(admin, world.asks(later, dina))
    header, _ = world.sealed(sid)
    content = base64.b64encode(header.content).decode()
    with fault("log_behind"):
        world.unmask(request.rid, later, dina, USE, content=content)
    world.log_catches_up()
    with fault("originals_mismatch"):
        world.unmask(request.rid, later, dina, USE, content=content)


# -- replays and races ---------------------------------------------------------------------------------------------------------


def test_a_yes_is_one_use_and_a_use_is_one_answer(world: SealedWorld) -> None:
    sid = world.recorded()
    request = world.agreed(sid)
    with fault("log_behind"):
        world.unmask(request.rid, sid, use=USE)
    with fault("approval_used"):
        world.unmask(request.rid, sid, use="another-use-of-it")
    world.log_catches_up()
    world.unmask(request.rid, sid, use=USE)
    for use in (USE, "another-use-of-it"):
        with fault("approval_used"):
            world.unmask(request.rid, sid, use=use)
    assert world.vault.opened == 1
    assert refusals(world) == ["approval_used"] * 3
    assert sum(isinstance(event, OriginalsUnmasked) for event in world.store.recorded) == 1


def test_of_two_that_race_for_the_answer_one_gets_it(world: SealedWorld) -> None:
    sid = world.recorded()
    request = world.agreed(sid)
    with fault("log_behind"):
        world.unmask(request.rid, sid, use=USE)
    world.log_catches_up()
    opened = world.vault.open

    def slow(*arguments: object) -> bytes:
        world.vault.open = opened  # type: ignore[method-assign]
        world.unmask(request.rid, sid, use=USE)
        return opened(*arguments)  # type: ignore[arg-type]

    world.vault.open = slow  # type: ignore[method-assign]
    with fault("conflict"):
        world.unmask(request.rid, sid, use=USE)


# -- the log -------------------------------------------------------------------------------------------------------------------


def test_an_index_that_says_logged_is_not_believed(world: SealedWorld) -> None:
    sid = world.recorded()
    request = world.agreed(sid)
    with fault("log_behind"):
        world.unmask(request.rid, sid, use=USE)
    (event,) = [event for event in world.store.recorded if isinstance(event, OriginalsUnmasked)]
    world.log.leaves[event.id] = 0
    with fault("log_behind"):
        world.unmask(request.rid, sid, use=USE)  # no checkpoint at all
    world.store.recorded.remove(event)  # whoever can write the table takes the event out before the sequencer sees it
    world.log_catches_up()
    world.log.leaves[event.id] = 0
    with fault("evidence_altered"):
        world.unmask(request.rid, sid, use=USE)
    assert world.vault.opened == 0


def test_a_checkpoint_that_somebody_else_signed(world: SealedWorld) -> None:
    sid = world.recorded()
    request = world.agreed(sid)
    with fault("log_behind"):
        world.unmask(request.rid, sid, use=USE)
    world.log_catches_up()
    from tests.fakes.log import FakeNotary

    newest = world.archive.read("log/checkpoint")
    assert newest is not None
    text = newest.body.decode().partition("\n\n")[0] + "\n"
    world.archive.put("log/checkpoint", str(FakeNotary().sign(text)).encode())
    with fault("evidence_altered"):
        world.unmask(request.rid, sid, use=USE)
    assert world.vault.opened == 0


# -- agents, and whoever holds the stores --------------------------------------------------------------------------------------


def test_an_agent_has_no_say_in_requests_about_its_sessions(world: SealedWorld) -> None:
    sid = world.recorded()
    request = world.agreed(sid)
    for attempt in (of_session, withdraw_operation):
        with fault("unknown_request"):
            attempt(world.ports, world.agent, sid, request.rid)
    assert standing(world.ports, world.store.kept_cases[request.rid], world.agent).approval == ""


def test_an_agent_that_tries_to_unseal(world: SealedWorld) -> None:
    """It has the public key and everything that it wrote. Another sealer of the very same session opens nothing of it."""
    sid = world.recorded()
    header, records = world.sealed(sid)
    again = Sealer(sid, SealingKey(target="web-1", month=header.month, public=world.key().public))
    aad = originals.aad(sid, "web-1", header.month, header.key, 0)
    with pytest.raises(InvalidTag):
        again._cipher.decrypt(originals.nonce(0), records[0], aad)
    # People have routes to this; an agent's proof is none of theirs.
    assert not [name for name in dir(world.agent) if "unmask" in name]


def test_everything_in_the_table_and_the_bucket_is_not_enough(world: SealedWorld) -> None:
    """An administrator of DynamoDB and S3 without KMS has the wrapped key, the sealed content key and the sealed records."""
    sid = world.recorded()
    header, records = world.sealed(sid)
    key = world.key()
    kept = msgspec.json.encode([*world.store.recorded]) + b"".join(world.archive.objects().values())
    assert SECRET not in kept
    assert b"4111 1111" not in kept
    aad = originals.aad(sid, key.target, key.month, key.name, 0)
    for guess in (key.public, key.wrapped.ljust(32, b"\0")[:32], header.content[:32], header.content[-32:]):
        with pytest.raises(InvalidTag):
            AESGCM(guess).decrypt(originals.nonce(0), records[0], aad)


def test_a_public_key_of_their_own_in_the_row_is_not_what_agents_seal_to(world: SealedWorld) -> None:
    """Whoever can write the table would read everything from then on. The key that agents take is signed by the gateway."""
    _, sealing = world.claimed()
    own = X25519PrivateKey.generate().public_key().public_bytes_raw()
    key = world.key()
    world.store.originals[key.target, key.month] = msgspec.structs.replace(key, public=own)
    assert world.claimed()[1] == sealing
    head, body, signature = sealing.split(".")
    claims = msgspec.json.decode(base64.urlsafe_b64decode(body + "=="))
    claims["public"] = base64.b64encode(own).decode()
    forged = ".".join([head, base64.urlsafe_b64encode(msgspec.json.encode(claims)).decode().rstrip("="), signature])
    with pytest.raises(ValueError):
        world.signer.verify_token(originals.SEALING_TYP, forged)


def test_bytes_that_are_no_heading(world: SealedWorld) -> None:
    sid = world.recorded()
    request = world.agreed(sid)
    with fault("log_behind"):
        world.unmask(request.rid, sid, use=USE)
    world.log_catches_up()
    for content in (bytes(80), bytes(31) + b"\x80" + bytes(48), b"\xff" * 80):
        with fault("originals_mismatch"):
            unmask_session(world.ports, DINA, request.rid, UnmaskUse(use=USE, content=base64.b64encode(content).decode()), IP)
