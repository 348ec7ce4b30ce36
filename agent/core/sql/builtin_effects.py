"""PostgreSQL's own functions, and those of its contributed extensions, that do more than compute.

Each entry says what the function does to the world, which flag it raises, whether what it returns may be any data at all, and
why. A name that matches a prefix has that entry. Extensions may be installed in any schema, so theirs are found by name.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agent.core.sql.model import ADMIN, EXECUTE, READ, UNKNOWN, WRITE


class Effect(msgspec.Struct, frozen=True):
    """What calling a function does. `tainted`: its result may carry any column of the database."""

    effects: frozenset[str]
    flags: frozenset[str]
    reason: str
    tainted: bool = False
    stores: bool = False
    """Its arguments end up where others, or later statements, can read them."""


def _effect(effects: str, flags: str, reason: str, *, tainted: bool = False, stores: bool = False) -> Effect:
    return Effect(frozenset(effects.split()), frozenset(flags.split()), reason, tainted, stores)


_TEXT = _effect(f"{READ} {EXECUTE} {UNKNOWN}", "dynamic", "runs the text it is given as SQL", tainted=True)
_WHOLE = _effect(f"{READ} {UNKNOWN}", "dynamic", "reads relations that are named by a value", tainted=True)
_LINK = _effect(f"{READ} {WRITE} {EXECUTE} {UNKNOWN}", "dynamic network", "runs SQL on another server", tainted=True, stores=True)
_FILE = _effect(f"{READ} {ADMIN}", "file_access", "reads files or directories of the server", tainted=True)
_PUT_FILE = _effect(f"{WRITE} {ADMIN}", "file_access", "writes files of the server", stores=True)
_LARGE_READ = _effect(READ, "large_object", "reads a large object", tainted=True)
_LARGE_WRITE = _effect(WRITE, "large_object", "creates, changes or removes a large object", stores=True)
_SEQUENCE = _effect(WRITE, "", "advances or sets a sequence, which rollback does not undo", stores=True)
_SLEEP = _effect(READ, "sleeps", "waits")
_ADVISORY = _effect(READ, "lock", "takes or frees an advisory lock that other sessions wait for, and can see", stores=True)
_SIGNAL = _effect(ADMIN, "sessions", "cancels, ends or signals other sessions")
_SERVER = _effect(ADMIN, "sessions", "changes the state of the server", stores=True)
_SLOT = _effect(f"{ADMIN} {WRITE}", "replication", "changes replication slots, origins or the write-ahead log", stores=True)
_CHANGES = _effect(f"{READ} {ADMIN} {WRITE}", "replication", "returns changed rows of every table", tainted=True)
_PEEK = _effect(f"{READ} {ADMIN}", "replication", "returns changed rows of every table", tainted=True)
_STATISTICS = _effect(f"{ADMIN} {WRITE}", "", "resets or rewrites statistics")
_MAINTAIN = _effect(f"{ADMIN} {WRITE}", "", "changes the inside of indexes, catalogues or pages")
_SESSIONS_TEXT = _effect(READ, "system_catalogue", "shows texts of other sessions or stored statements", tainted=True)
_SETTING = _effect(WRITE, "", "changes a setting", stores=True)
_RAW_PAGE = _effect(f"{READ} {ADMIN}", "", "shows raw pages, whatever the tables' permissions", tainted=True)
_TRIGGER = _effect(f"{WRITE} {EXECUTE}", "", "is a trigger's function")
_IDENTITY = _effect(READ, "", "assigns a transaction id or exports a snapshot")

EFFECTS_OF: Final[dict[str, Effect]] = {
    **dict.fromkeys(("query_to_xml", "query_to_xml_and_xmlschema", "query_to_xmlschema", "ts_stat", "ts_rewrite"), _TEXT),
    **dict.fromkeys(("xpath_table", "connectby", "crosstab", "crosstab2", "crosstab3", "crosstab4", "crosstabn"), _TEXT),
    **dict.fromkeys(("cursor_to_xml", "cursor_to_xmlschema", "table_to_xml", "table_to_xml_and_xmlschema"), _WHOLE),
    **dict.fromkeys(("table_to_xmlschema", "schema_to_xml", "schema_to_xml_and_xmlschema", "schema_to_xmlschema"), _WHOLE),
    **dict.fromkeys(("database_to_xml", "database_to_xml_and_xmlschema", "database_to_xmlschema"), _WHOLE),
    **dict.fromkeys(("pg_read_file", "pg_read_file_old", "pg_read_binary_file", "pg_stat_file", "pg_file_read"), _FILE),
    **dict.fromkeys(("pg_current_logfile", "pg_hba_file_rules", "pg_ident_file_mappings", "pg_show_all_file_settings"), _FILE),
    **dict.fromkeys(("pg_file_write", "pg_file_unlink", "pg_file_rename", "pg_file_sync", "pg_logdir_ls"), _PUT_FILE),
    "lo_import": _effect(f"{WRITE} {ADMIN}", "large_object file_access", "reads a file of the server into a large object"),
    "lo_export": _effect(
        f"{READ} {WRITE} {ADMIN}", "large_object file_access", "writes a large object to a file of the server", stores=True
    ),
    **dict.fromkeys(("lo_get", "loread", "lo_open", "lo_close", "lo_lseek", "lo_lseek64", "lo_tell", "lo_tell64"), _LARGE_READ),
    **dict.fromkeys(("nextval", "setval"), _SEQUENCE),
    **dict.fromkeys(("pg_cancel_backend", "pg_terminate_backend", "pg_log_backend_memory_contexts"), _SIGNAL),
    **dict.fromkeys(("pg_reload_conf", "pg_rotate_logfile", "pg_rotate_logfile_old", "pg_promote", "pg_logfile_rotate"), _SERVER),
    **dict.fromkeys(("pg_wal_replay_pause", "pg_wal_replay_resume", "pg_switch_wal", "pg_create_restore_point"), _SERVER),
    **dict.fromkeys(("pg_backup_start", "pg_backup_stop", "pg_start_backup", "pg_stop_backup"), _SERVER),
    **dict.fromkeys(("pg_logical_slot_get_changes", "pg_logical_slot_get_binary_changes"), _CHANGES),
    **dict.fromkeys(("pg_logical_slot_peek_changes", "pg_logical_slot_peek_binary_changes"), _PEEK),
    **dict.fromkeys(("pg_sync_replication_slots", "pg_replication_slot_advance", "pg_drop_replication_slot"), _SLOT),
    "pg_logical_emit_message": _effect(f"{ADMIN} {WRITE}", "replication", "writes a message to the log", stores=True),
    "set_config": _effect(READ, "", "changes a setting", stores=True),
    "pg_notify": _effect(WRITE, "", "tells every listening session", stores=True),
    **dict.fromkeys(("brin_summarize_new_values", "brin_summarize_range", "brin_desummarize_range"), _MAINTAIN),
    **dict.fromkeys(("gin_clean_pending_list", "pg_import_system_collations", "pg_extension_config_dump"), _MAINTAIN),
    **dict.fromkeys(("pg_nextoid", "pg_stop_making_pinned_objects", "pg_truncate_visibility_map", "heap_force_kill"), _MAINTAIN),
    **dict.fromkeys(("heap_force_freeze", "currtid2", "amvalidate", "pg_prewarm", "autoprewarm_start_worker"), _MAINTAIN),
    **dict.fromkeys(("pg_stat_get_activity", "pg_stat_get_backend_activity", "pg_prepared_statement", "pg_cursor"),
                    _SESSIONS_TEXT),
    **dict.fromkeys(("pg_stat_statements", "pg_mcv_list_items", "pg_stats_ext_mcvlist_items", "postgres_fdw_get_connections"),
                    _SESSIONS_TEXT),
    **dict.fromkeys(("get_raw_page", "heap_page_items", "heap_page_item_attrs", "bt_page_items", "tuple_data_split",
                     "page_header", "fsm_page_contents", "brin_page_items", "gist_page_items", "hash_page_items",
                     "pg_get_wal_block_info", "pg_get_wal_records_info", "pg_get_wal_record_info"), _RAW_PAGE),
    **dict.fromkeys(("txid_current", "pg_current_xact_id", "pg_export_snapshot"), _IDENTITY),
    **dict.fromkeys(("suppress_redundant_updates_trigger", "tsvector_update_trigger", "tsvector_update_trigger_column",
                     "lo_manage", "autoinc", "insert_username", "moddatetime", "check_primary_key", "check_foreign_key"),
                    _TRIGGER),
    "setseed": _effect(READ, "", "sets the seed of this session's random()"),
    "pg_listening_channels": _effect(READ, "", "names this session's channels"),
    "system": _effect(f"{ADMIN} {EXECUTE}", "", "is a table sampling method and not for calling"),
    # CONTRIB that is volatile and harmless, or that needs saying.
    **dict.fromkeys(("uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4", "gen_random_bytes", "gen_salt",
                     "normal_rand", "set_limit"), _effect(READ, "", "makes random values")),
}  # fmt: skip

#: Families. The longest prefix that fits wins; exact names above come first.
PREFIXES: Final[dict[str, Effect]] = {
    "dblink": _LINK,
    "lo_": _LARGE_WRITE,
    "lowrite": _LARGE_WRITE,
    "pg_ls_": _FILE,
    "pg_sleep": _SLEEP,
    "pg_advisory_": _ADVISORY,
    "pg_try_advisory_": _ADVISORY,
    "pg_replication_origin_": _SLOT,
    "pg_create_logical_": _SLOT,
    "pg_create_physical_": _SLOT,
    "pg_copy_logical_": _SLOT,
    "pg_copy_physical_": _SLOT,
    "pg_stat_reset": _STATISTICS,
    "pg_stat_statements_reset": _STATISTICS,
    "pg_restore_": _STATISTICS,
    "pg_clear_": _STATISTICS,
    "pg_stat_clear_": _effect(READ, "", "forgets this session's snapshot of statistics"),
    "pg_stat_force_": _effect(READ, "", "reports this session's statistics"),
    "binary_upgrade_": _MAINTAIN,
    "plpgsql_": _effect(f"{EXECUTE} {UNKNOWN}", "dynamic", "handles a language", tainted=True),
    "ri_fkey_": _TRIGGER,
}

#: Functions (and operators) whose errors cannot show a value, and whose result shows it only where they are output.
_QUIET_NAMES = """
count min max array_agg string_agg json_agg jsonb_agg json_object_agg jsonb_object_agg row_to_json to_json to_jsonb
json_build_object jsonb_build_object json_build_array jsonb_build_array concat concat_ws lower upper initcap btrim
ltrim rtrim first_value last_value lag lead row_number array_to_json array_to_string unnest jsonb_array_elements
jsonb_array_elements_text json_array_elements json_array_elements_text jsonb_each jsonb_each_text json_each json_each_text
jsonb_object_keys json_object_keys jsonb_populate_record json_populate_record any_value sum avg quote_literal
quote_ident quote_nullable md5 sha256 sha512 to_char date_trunc xmlagg every bool_and bool_or now
regexp_split_to_table regexp_split_to_array string_to_array string_to_table left right substring substr reverse replace
length char_length octet_length to_tsvector format array_append array_cat json_strip_nulls jsonb_strip_nulls jsonb_pretty
jsonb_extract_path jsonb_extract_path_text json_extract_path json_extract_path_text text
"""
QUIET: Final = frozenset(_QUIET_NAMES.split())
QUIET_OPERATORS: Final = frozenset({"||", "->", "->>", "#>", "#>>"})
_OPERATORS_NAMES = """
!! !~ !~* !~~ !~~* # ## #- #> #>> % & && &< &<| &> * *< *<= *<> *= *> *>= + - -> ->> -|- / < <-> << <<= <<| <= <> <@ <^ =
> >= >> >>= >^ ? ?# ?& ?- ?-| ?| ?|| @ @-@ @> @? @@ @@@ ^ ^@ | |&> |/ |>> || ||/ ~ ~* ~<=~ ~<~ ~= ~>=~ ~>~ ~~ ~~* <<^ >^
|>> !=
"""
OPERATORS: Final = frozenset(_OPERATORS_NAMES.split())


def effect_of(name: str) -> Effect | None:
    """What the built-in (or contributed) function `name` does beyond computing, or None where there is no entry."""
    found = EFFECTS_OF.get(name)
    if found is None:
        lowered = name.lower()
        fitting = [prefix for prefix in PREFIXES if lowered.startswith(prefix)]
        if fitting:
            found = PREFIXES[max(fitting, key=len)]
    return found
