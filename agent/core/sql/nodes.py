"""Every kind of node in the parser's schema, and what the walk does with it.

`TRANSPARENT` nodes carry what their children carry; `TESTS` are the same, and their children are tested by them. `EXPRESSIONS`,
`ITEMS`, `QUERIES` and `STATEMENTS` have a method of their own. `PARTS` only stand inside one of these and are read by it.
`OPAQUE` nodes are made after parsing, by the analyser and planner of the server, and never stand in a raw tree. A kind that is in
none of them is unknown wherever it is met, and a test fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_TRANSPARENT_NAMES = """
A_ArrayExpr A_Indices A_Indirection CoalesceExpr CollateClause GroupingFunc GroupingSet JsonAggConstructor JsonArgument
JsonArrayAgg JsonArrayConstructor JsonFormat JsonFuncExpr JsonKeyValue JsonObjectAgg JsonObjectConstructor JsonOutput
JsonParseExpr JsonReturning JsonScalarExpr JsonSerializeExpr JsonTablePathSpec JsonValueExpr JsonBehavior List MinMaxExpr
NamedArgExpr RowExpr XmlExpr XmlSerialize String Integer Float Boolean BitString A_Const SQLValueFunction SetToDefault
TypeName MergeSupportFunc
"""
TRANSPARENT: Final = frozenset(_TRANSPARENT_NAMES.split())
TESTS: Final = frozenset(["BooleanTest", "BoolExpr", "NullTest", "JsonIsPredicate", "SortBy", "WindowDef", "CurrentOfExpr"])
EXPRESSIONS: Final = frozenset(
    [
        "ColumnRef",
        "ParamRef",
        "A_Star",
        "FuncCall",
        "A_Expr",
        "TypeCast",
        "CaseExpr",
        "SubLink",
        "JsonArrayQueryConstructor",
        "MultiAssignRef",
        "ResTarget",
    ]
)
ITEMS: Final = frozenset(
    ["RangeVar", "JoinExpr", "RangeSubselect", "RangeFunction", "RangeTableFunc", "RangeTableSample", "JsonTable"]
)
QUERIES: Final = frozenset(["SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"])
_PARTS_NAMES = """
Alias IntoClause CaseWhen CommonTableExpr CTECycleClause CTESearchClause WithClause InferClause OnConflictClause IndexElem
LockingClause MergeWhenClause ReturningClause ReturningOption RangeTableFuncCol JsonTableColumn DefElem RoleSpec ColumnDef
Constraint AccessPriv ObjectWithArgs AlterTableCmd ATAlterConstraint ReplicaIdentityStmt FunctionParameter PartitionElem
PartitionSpec PartitionBoundSpec PartitionRangeDatum PartitionCmd TableLikeClause TriggerTransition CreateOpClassItem
VacuumRelation StatsElem PublicationTable PublicationObjSpec RawStmt ReturnStmt InlineCodeBlock CallContext IntList
OidList
"""
PARTS: Final = frozenset(_PARTS_NAMES.split())
_OPAQUE_NAMES = """
TableFunc Var Param Aggref WindowFunc WindowFuncRunCondition SubscriptingRef FuncExpr OpExpr DistinctExpr NullIfExpr
ScalarArrayOpExpr SubPlan AlternativeSubPlan FieldSelect FieldStore RelabelType CoerceViaIO ArrayCoerceExpr
ConvertRowtypeExpr CollateExpr CaseTestExpr ArrayExpr RowCompareExpr JsonConstructorExpr JsonExpr JsonTablePath JsonTablePathScan
JsonTableSiblingJoin MergeAction CoerceToDomain CoerceToDomainValue NextValueExpr InferenceElem ReturningExpr TargetEntry
RangeTblRef FromExpr OnConflictExpr Query RangeTblEntry RTEPermissionInfo RangeTblFunction TableSampleClause
WithCheckOption SortGroupClause WindowClause RowMarkClause SetOperationStmt PLAssignStmt
"""
OPAQUE: Final = frozenset(_OPAQUE_NAMES.split())

_MESSAGE: Final = 11  # FieldDescriptor.TYPE_MESSAGE


def unwrapped(node: Any) -> Any:
    """Return what the wrapper ``Node`` holds; anything else, and a wrapper that is empty, as it is."""
    which = node.WhichOneof("node") if node.DESCRIPTOR.name == "Node" else None
    return node if which is None else getattr(node, which)


def below(node: Any) -> Iterator[Any]:
    """Yield the messages that stand in the fields of ``node``."""
    for field, value in node.ListFields():
        if field.type == _MESSAGE:
            yield from value if field.is_repeated else (value,)
