"""Replication commands: what each asks for, and what is none of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocols.postgres.replication import NotUnderstood, connection, read


@pytest.mark.parametrize(
    ("text", "verb", "objects", "flags", "streams"),
    [
        ("IDENTIFY_SYSTEM", "IDENTIFY_SYSTEM", "", "", ""),
        (" \n\tIDENTIFY_SYSTEM ; \n", "IDENTIFY_SYSTEM", "", "", ""),
        ("SHOW wal_segment_size", "SHOW", "setting:wal_segment_size", "", ""),
        ("SHOW a.B", "SHOW", "setting:a.b", "", ""),
        ('READ_REPLICATION_SLOT "Odd ""one"', "READ_REPLICATION_SLOT", 'setting:x slot:Odd "one', "", ""),
        ("TIMELINE_HISTORY 7", "TIMELINE_HISTORY", "timeline:7", "physical", ""),
        ("CREATE_REPLICATION_SLOT a PHYSICAL RESERVE_WAL", "CREATE_REPLICATION_SLOT", "slot:a", "physical", ""),
        ("CREATE_REPLICATION_SLOT a TEMPORARY PHYSICAL (reserve_wal)", "CREATE_REPLICATION_SLOT", "slot:a", "physical", ""),
        (
            'CREATE_REPLICATION_SLOT "a" LOGICAL "pgoutput" (SNAPSHOT \'nothing\', TWO_PHASE)',
            "CREATE_REPLICATION_SLOT",
            "slot:a plugin:pgoutput",
            "logical",
            "",
        ),
        (
            "CREATE_REPLICATION_SLOT a LOGICAL test_decoding NOEXPORT_SNAPSHOT",
            "CREATE_REPLICATION_SLOT",
            "slot:a plugin:test_decoding",
            "logical",
            "",
        ),
        ("DROP_REPLICATION_SLOT a WAIT", "DROP_REPLICATION_SLOT", "slot:a", "", ""),
        ("ALTER_REPLICATION_SLOT a (FAILOVER 'true')", "ALTER_REPLICATION_SLOT", "slot:a", "", ""),
        ("START_REPLICATION 0/1000000", "START_REPLICATION", "", "physical raw", "both"),
        ("START_REPLICATION PHYSICAL 16/B374D848 TIMELINE 3", "START_REPLICATION", "timeline:3", "physical raw", "both"),
        ('START_REPLICATION SLOT "a" 0/0 TIMELINE 1', "START_REPLICATION", "slot:a timeline:1", "physical raw", "both"),
        ("START_REPLICATION SLOT a LOGICAL 0/0", "START_REPLICATION", "slot:a", "logical raw", "both"),
        (
            'START_REPLICATION SLOT "a" LOGICAL 0/0 (proto_version \'3\', publication_names \'"One",two, "th,ree"\')',
            "START_REPLICATION",
            "slot:a publication:One publication:two publication:th,ree",
            "logical raw",
            "both",
        ),
        ("BASE_BACKUP", "BASE_BACKUP", "", "physical raw", "out"),
        ("BASE_BACKUP ( LABEL 'it''s', PROGRESS, MAX_RATE 100, TARGET 'client')", "BASE_BACKUP", "", "physical raw", "out"),
        ("BASE_BACKUP LABEL 'x' FAST NOWAIT MAX_RATE 8 MANIFEST 'yes'", "BASE_BACKUP", "", "physical raw", "out"),
        (
            "BASE_BACKUP (TARGET 'server', TARGET_DETAIL '/tmp/x')",
            "BASE_BACKUP",
            "target:server",
            "physical raw file_access",
            "out",
        ),
        ("UPLOAD_MANIFEST", "UPLOAD_MANIFEST", "", "physical", "in"),
    ],
)
def test_what_a_command_asks_for(text: str, verb: str, objects: str, flags: str, streams: str) -> None:
    found = read(text)
    assert found is not None
    if "Odd" in objects:
        assert found.objects == {'slot:Odd "one'}
    else:
        assert found.objects == set(objects.split())
    assert (found.verb, found.streams, found.flags) == (verb, streams, {"replication", *flags.split()})
    operation = found.operation(text)
    assert (operation.action, operation.text, operation.verbs) == ("replicate", text, {verb})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SELECT 1",
        "show wal_level",
        "identify_system",
        "Start_Replication 0/0",
        "/* x */ IDENTIFY_SYSTEM",
        "-- x\nIDENTIFY_SYSTEM",
        "(IDENTIFY_SYSTEM)",
        ";IDENTIFY_SYSTEM",
        "\xa0IDENTIFY_SYSTEM",
        "IDENTIFY_SYSTEMS",
        '"IDENTIFY_SYSTEM"',
    ],
)
def test_what_a_server_takes_for_sql(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "IDENTIFY_SYSTEM;;",
        "IDENTIFY_SYSTEM; IDENTIFY_SYSTEM",
        "IDENTIFY_SYSTEM -- x",
        "IDENTIFY_SYSTEM /* x */",
        "IDENTIFY_SYSTEM\x00",
        "START_REPLICATION",
        "START_REPLICATION 0/0; DROP_REPLICATION_SLOT a",
        "START_REPLICATION 0/0 DROP_REPLICATION_SLOT a",
        "START_REPLICATION LOGICAL 0/0",
        "START_REPLICATION SLOT 'a' 0/0",
        "START_REPLICATION SLOT a LOGICAL 0/0 (a 'b",
        "START_REPLICATION SLOT a LOGICAL 0/0 (a 'b') (c 'd')",
        "START_REPLICATION SLOT a LOGICAL 0/0 (publication_names 'a', PUBLICATION_NAMES 'b')",
        "START_REPLICATION SLOT a LOGICAL 0/0 (publication_names 'a b')",
        "START_REPLICATION SLOT a LOGICAL 0/0 ()",
        "START_REPLICATION SLOT SLOT 0/0",
        "START_REPLICATION 0/0 TIMELINE x",
        "CREATE_REPLICATION_SLOT a",
        "CREATE_REPLICATION_SLOT a LOGICAL",
        "CREATE_REPLICATION_SLOT a PHYSICAL SLOT",
        "BASE_BACKUP LABEL x",
        "BASE_BACKUP TARGET 'server'",
        "BASE_BACKUP (TARGET 'client', target 'server')",
        "SHOW",
        "SHOW a b",
        "SHOW ALL; SELECT 1",
        "TIMELINE_HISTORY 1a",
        "UPLOAD_MANIFEST x",
        "DROP_REPLICATION_SLOT a WAIT b",
        "IDENTIFY_SYSTEM" + " x" * 2_000,
    ],
)
def test_what_begins_like_a_command_and_is_none(text: str) -> None:
    with pytest.raises(NotUnderstood):
        read(text)


_WORDS = st.sampled_from(
    "START_REPLICATION SLOT a LOGICAL PHYSICAL 0/0 ( ) , ; 'x' \"y\" 7 BASE_BACKUP TIMELINE SHOW . é".split()
)


@given(st.lists(_WORDS, max_size=12).map(" ".join) | st.text(max_size=60))
def test_any_text_is_one_thing_or_the_other(text: str) -> None:
    try:
        found = read(text)
    except NotUnderstood:
        return
    assert found is None or text.split()[0].rstrip(";").startswith(found.verb)


def test_a_connection_is_asked_about_by_its_mode() -> None:
    asked = connection("database")
    assert (asked.action, asked.kind, asked.text, asked.flags) == (
        "replicate",
        "connection",
        "replication=database",
        {"replication"},
    )
