"""Run-time settings that a policy would want to know about."""

from __future__ import annotations

from typing import Final

#: They change how the server reads the texts that follow: what we understood would no longer be what runs.
PARSER_SETTINGS: Final = frozenset(
    {"standard_conforming_strings", "backslash_quote", "client_encoding", "names", "transform_null_equals"}
)

#: They lift a safeguard, run code, or turn off a trace. Most need a superuser; some should.
_SUPERUSER_SETTINGS_NAMES = """
session_replication_role row_security allow_system_table_mods ignore_system_indexes zero_damaged_pages
ignore_checksum_failure log_statement log_min_messages log_min_error_statement log_min_duration_statement log_duration
log_connections log_disconnections log_parameter_max_length log_error_verbosity log_replication_commands log_lock_waits
track_activities track_counts track_functions session_preload_libraries local_preload_libraries shared_preload_libraries
dynamic_library_path extension_control_path lo_compat_privileges temp_file_limit restrict_nonsystem_relation_kind
archive_command archive_library restore_command ssl_passphrase_command fsync full_page_writes debug_assertions
backtrace_functions deadlock_timeout jit_provider wal_compression wal_consistency_checking event_triggers
createrole_self_grant in_hot_standby
"""
SUPERUSER_SETTINGS: Final = frozenset(_SUPERUSER_SETTINGS_NAMES.split())


def is_superuser_setting(name: str) -> bool:
    """`pgaudit.*` and `auto_explain.*` count as well: they are traces."""
    return name in SUPERUSER_SETTINGS or name.startswith(
        ("pgaudit.", "auto_explain.", "pg_stat_statements.", "plperl.", "pltcl.")
    )
