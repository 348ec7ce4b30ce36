"""Statements that only need naming: what each is called, what it can change, and which verbs a rule may mention.

One row per node of the parser: node, kind, effects (r, w, a, x), flags. The verbs are the words of the kind: ``create_table``
gives CREATE and CREATE TABLE. Statements with a method of their own are in `utilities`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agent.core.sql.model import ADMIN, EXECUTE, READ, WRITE

_EFFECTS = {"r": READ, "w": WRITE, "a": ADMIN, "x": EXECUTE}
_ROWS = """
truncate_stmt                  truncate                 w
lock_stmt                      lock                     w    lock
listen_stmt                    listen                   r
unlisten_stmt                  unlisten                 r
notify_stmt                    notify                   w
constraints_set_stmt           set_constraints          r
close_portal_stmt              close                    r
variable_show_stmt             show                     r
check_point_stmt               checkpoint               a
cluster_stmt                   cluster                  aw
reindex_stmt                   reindex                  aw
load_stmt                      load                     ax
refresh_mat_view_stmt          refresh_matview          rw
create_schema_stmt             create_schema            aw
create_stmt                    create_table             aw
create_foreign_table_stmt      create_foreign_table     aw   network
create_table_space_stmt        create_tablespace        a    file_access
drop_table_space_stmt          drop_tablespace          aw
alter_table_space_options_stmt alter_tablespace         a
alter_table_move_all_stmt      alter_tablespace         aw
create_extension_stmt          create_extension         ax
alter_extension_stmt           alter_extension          ax
alter_extension_contents_stmt  alter_extension          ax
create_fdw_stmt                create_fdw               ax   network
alter_fdw_stmt                 alter_fdw                ax   network
create_foreign_server_stmt     create_server            a    network
alter_foreign_server_stmt      alter_server             a    network
create_user_mapping_stmt       create_user_mapping      a    network
alter_user_mapping_stmt        alter_user_mapping       a    network
drop_user_mapping_stmt         drop_user_mapping        aw
import_foreign_schema_stmt     import_foreign_schema    aw   network
create_policy_stmt             create_policy            a
alter_policy_stmt              alter_policy             a
create_am_stmt                 create_access_method     ax
create_trig_stmt               create_trigger           ax
create_event_trig_stmt         create_event_trigger     ax
alter_event_trig_stmt          alter_event_trigger      a
create_plang_stmt              create_language          ax
create_role_stmt               create_role              a
alter_role_stmt                alter_role               a
alter_role_set_stmt            alter_role_set           a
drop_role_stmt                 drop_role                aw
create_seq_stmt                create_sequence          aw
alter_seq_stmt                 alter_sequence           aw
create_domain_stmt             create_domain            a
alter_domain_stmt              alter_domain             a
create_op_class_stmt           create_operator_class    a
create_op_family_stmt          create_operator_family   a
alter_op_family_stmt           alter_operator_family    a
alter_operator_stmt            alter_operator           a
alter_type_stmt                alter_type               a
alter_enum_stmt                alter_type               a
alter_collation_stmt           alter_collation          a
alter_stats_stmt               alter_statistics         a
create_stats_stmt              create_statistics        a
alter_tsdictionary_stmt        alter_text_search        a
alter_tsconfiguration_stmt     alter_text_search        a
composite_type_stmt            create_type              a
create_enum_stmt               create_type              a
create_range_stmt              create_type              a
create_cast_stmt               create_cast              ax
create_conversion_stmt         create_conversion        ax
create_transform_stmt          create_transform         ax
rule_stmt                      create_rule              ax
index_stmt                     create_index             aw
create_function_stmt           create_function          ax
alter_function_stmt            alter_function           ax
view_stmt                      create_view              a
createdb_stmt                  create_database          aw
alter_database_stmt            alter_database           a
alter_database_refresh_coll_stmt alter_database         a
alter_database_set_stmt        alter_database_set       a
dropdb_stmt                    drop_database            aw
alter_system_stmt              alter_system             a    superuser_setting
grant_stmt                     grant                    a
grant_role_stmt                grant_role               a
alter_default_privileges_stmt  alter_default_privileges a
drop_owned_stmt                drop_owned               aw
reassign_owned_stmt            reassign_owned           a
create_publication_stmt        create_publication       a    replication
alter_publication_stmt         alter_publication        a    replication
create_subscription_stmt       create_subscription      aw   replication,network
alter_subscription_stmt        alter_subscription       aw   replication,network
drop_subscription_stmt         drop_subscription        aw   replication
comment_stmt                   comment                  a
sec_label_stmt                 security_label           a
"""


class Kind(msgspec.Struct, frozen=True):
    """One row of the table."""

    name: str
    effects: frozenset[str]
    flags: frozenset[str]


def _read(rows: str) -> dict[str, Kind]:
    found = {}
    for row in rows.strip().splitlines():
        node, name, effects, *flags = row.split()
        found[node] = Kind(name, frozenset(_EFFECTS[letter] for letter in effects), frozenset(",".join(flags).split(",")) - {""})
    return found


KINDS: Final = _read(_ROWS)
#: ``DROP``, ``ALTER … RENAME``, ``ALTER … OWNER`` and their kin name their object by a number.
BY_OBJECT: Final = {
    "drop_stmt": ("drop", "remove_type", frozenset({ADMIN, WRITE})),
    "rename_stmt": ("alter", "rename_type", frozenset({ADMIN, WRITE})),
    "alter_owner_stmt": ("alter", "object_type", frozenset({ADMIN})),
    "alter_object_schema_stmt": ("alter", "object_type", frozenset({ADMIN, WRITE})),
    "alter_object_depends_stmt": ("alter", "object_type", frozenset({ADMIN})),
    "alter_table_stmt": ("alter", "objtype", frozenset({ADMIN, WRITE})),
    "define_stmt": ("create", "kind", frozenset({ADMIN, EXECUTE})),
}
#: After these, which names mean what is not known before the catalogue is read again.
UNSETTLING: Final = frozenset(
    {
        "create_extension_stmt", "alter_extension_stmt", "alter_extension_contents_stmt", "import_foreign_schema_stmt",
        "drop_owned_stmt", "load_stmt", "create_cast_stmt", "define_stmt", "create_op_class_stmt", "alter_op_family_stmt",
        "rule_stmt", "create_event_trig_stmt",
    }
)  # fmt: skip


def verbs_of(kind: str) -> set[str]:
    """``drop_table`` → DROP and DROP TABLE."""
    words = kind.upper().split("_")
    return {words[0], " ".join(words)}
