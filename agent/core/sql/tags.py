"""Data classes: which of them each output column carries, given what the columns of the database hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from agent.core.sql.model import TAINT, Analysis, Statement


class Tagged(msgspec.Struct, frozen=True):
    """One statement in terms of data classes.

    `outputs` has the classes of each output column, in order. Where it is not `aligned`, the number of columns that the server
    will send is not known, and `every` (the classes of all of them together) holds for each. `probed`: classes that the statement
    tests, and may so tell without showing them. `stored`: classes that it may copy to where their tags do not follow. `reached`:
    those of all relations that it names, which its own errors may quote.
    """

    outputs: tuple[frozenset[str], ...]
    aligned: bool
    every: frozenset[str]
    probed: frozenset[str]
    stored: frozenset[str]
    reached: frozenset[str]
    names: dict[str, frozenset[str]] = {}
    """Classes of the columns that it can see, by bare name."""
    orders: dict[str, tuple[str, ...]] = {}
    """The columns of the relations that it names, by bare name."""

    def column(self, index: int) -> frozenset[str]:
        """The classes of the column that the server sends at `index` (from 0), whatever it calls it."""
        return self.outputs[index] if self.aligned and 0 <= index < len(self.outputs) else self.every


def tagged(analysis: Analysis, tags: Mapping[str, str]) -> tuple[Tagged, ...]:
    """Each statement of `analysis` under `tags`: ``{"public.customers.ssn": "ssn"}``."""
    everything = frozenset(tags.values())
    return tuple(_statement(statement, tags, everything) for statement in analysis.statements)


def _statement(statement: Statement, tags: Mapping[str, str], everything: frozenset[str]) -> Tagged:
    outputs = tuple(everything if column.tainted else _classes(column.columns, tags, everything) for column in statement.outputs)
    unsure = any(TAINT in column.columns or column.tainted for column in statement.outputs)
    every = everything if unsure else frozenset().union(*outputs)
    return Tagged(
        outputs=outputs,
        aligned=statement.aligned,
        # A column beyond those that were foreseen is one that was not understood.
        every=everything if statement.aligned else every,
        probed=_classes(statement.probed, tags, everything),
        stored=_classes(statement.stored, tags, everything),
        reached=_classes(statement.reached, tags, everything),
        names=_named(statement.named, tags, everything) if tags else {},
        orders=statement.orders if tags else {},
    )


def _named(named: Mapping[str, Iterable[str]], tags: Mapping[str, str], everything: frozenset[str]) -> dict[str, frozenset[str]]:
    classes = {name: _classes(carry, tags, everything) for name, carry in named.items()}
    return {name: found for name, found in classes.items() if found}


def _classes(columns: Iterable[str], tags: Mapping[str, str], everything: frozenset[str]) -> frozenset[str]:
    found = set()
    for column in columns:
        if column is TAINT or column == TAINT:
            return everything
        data_class = tags.get(column)
        if data_class is not None:
            found.add(data_class)
    return frozenset(found)
