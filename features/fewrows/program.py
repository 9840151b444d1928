"""An Ibis expression as a list of steps, each a function of what steps before it returned.

A relation is no table here but the choice of its parent's rows, so a step is spent only on columns that something
reads, and on what several features share only once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import ibis
import ibis.expr.operations as ops
import numpy as np
import pyarrow as pa

from features.fewrows import joins
from features.fewrows.columns import OPERATIONS, Column, casting, constant
from features.fewrows.groups import group
from features.fewrows.steps import all_hold, holding, operands, reducing, sides, sorts_of
from features.fewrows.tables import Given, Writer, reading, writing

Step = tuple[Callable[..., Any], tuple[int, ...]]
# Where a column is asked for: among the rows of its relation (None), the groups of an aggregate, or a join's rows
# after so many of its links, the last one before (False) or after (True) its further conditions.
Place: TypeAlias = Any


@dataclass(frozen=True)
class Program:
    """The steps of an expression, and where its columns and the number of its rows are found among what they return."""

    steps: list[Step]
    columns: Mapping[str, tuple[int, Writer]]
    rows: int

    def run(self, given: Given) -> pa.Table:
        """Return the rows of the expression over these tables."""
        found: list[Any] = [given]
        with np.errstate(all="ignore"):  # what a null hides may be divided by 0
            for function, arguments in self.steps:
                found.append(function(*[found[argument] for argument in arguments]))
        rows = found[self.rows]
        return pa.table({name: write(found[place].full(rows)) for name, (place, write) in self.columns.items()})


def compiled(table: ibis.Table, parameters: Mapping[ops.Node, str]) -> Program:
    """Return the program of an expression over unbound tables; ``parameters`` are literals whose values come later."""
    relation: Any = table.op()
    compiler = _Compiler(parameters)
    columns = {
        name: (compiler.column(ops.Field(relation, name)), writing(dtype)) for name, dtype in relation.schema.items()
    }
    return Program(compiler.steps, columns, compiler.rows(relation))


class _Compiler:
    def __init__(self, parameters: Mapping[ops.Node, str]) -> None:
        self.steps: list[Step] = []
        self._parameters = parameters
        self._places: dict[Any, int] = {}

    def _step(self, key: Any, function: Callable[..., Any], *arguments: int) -> int:
        """Return where the step's result will be; the same step is taken once."""
        if key not in self._places:
            self.steps.append((function, arguments))
            self._places[key] = len(self.steps)
        return self._places[key]

    def column(self, node: Any, place: Place = None) -> int:
        """Return where a value is found."""
        key = (node, place)
        if key not in self._places:
            self._places[key] = self._column(node, place)
        return self._places[key]

    def _column(self, node: Any, place: Place) -> int:
        if node in self._parameters:
            name = self._parameters[node]
            return self._step(("moment", name), lambda given: given.moment[name], 0)
        if isinstance(node, ops.Literal):
            found = constant(node.value, node.dtype)
            return self._step(node, lambda: found)
        if isinstance(node, ops.Field):
            return self._field(node, place)
        if isinstance(node, ops.Cast):
            return self._cast(node, place)
        if isinstance(node, ops.WindowFunction):
            return self._window(node)
        if isinstance(node, ops.Reduction):
            assert isinstance(place, ops.Aggregate)
            groups = self._groups(place.parent, tuple(place.groups.values()))
            return self._reduction(node, place.parent, groups)
        columns = [self.column(operand, place) for operand in operands(node)]
        return self._step((node, place, "of"), OPERATIONS[type(node)], *columns)

    def _cast(self, node: Any, place: Place) -> int:
        arg, function = self.column(node.arg, place), casting(node.arg.dtype, node.to)
        return arg if function is None else self._step((node, place, "as"), function, arg)

    def _field(self, node: Any, place: Place) -> int:
        relation, name = node.rel, node.name
        if isinstance(relation, ops.UnboundTable):
            table, read = relation.name, reading(node.dtype)
            return self._step(node, lambda given: given.column(table, name, read), 0)
        if isinstance(relation, (ops.Project, ops.DummyTable)):
            return self.column(relation.values[name])
        if isinstance(relation, ops.JoinChain):
            return self.column(relation.values[name], _after_all(relation))
        if isinstance(relation, ops.JoinReference):
            assert isinstance(place, tuple)
            number = relation.identifier
            own = self.column(ops.Field(relation.parent, name))
            return self._step(
                (node, place, "of"),
                lambda column, places: column.take_or_null(places[number]),
                own,
                self._joined(place),
            )
        if isinstance(relation, ops.Aggregate) and name in relation.metrics:
            return self.column(relation.metrics[name], relation)
        own = relation.groups[name] if isinstance(relation, ops.Aggregate) else ops.Field(relation.parent, name)
        return self._step((node, "of"), Column.take, self.column(own), self._chosen(relation))

    def rows(self, relation: Any) -> int:
        """Return where the number of a relation's rows is found."""
        if isinstance(relation, ops.UnboundTable):
            name = relation.name
            return self._step((relation, "rows"), lambda given: given.rows(name), 0)
        if isinstance(relation, ops.Project):
            return self.rows(relation.parent)
        if isinstance(relation, ops.DummyTable):
            (values,) = relation.values.values()
            return self._step((relation, "rows"), lambda column: len(column.values), self.column(values))
        if isinstance(relation, ops.JoinChain):
            return self._step((relation, "rows"), lambda places: len(places[0]), self._joined(_after_all(relation)))
        return self._step((relation, "rows"), len, self._chosen(relation))

    def _chosen(self, relation: Any) -> int:
        """Return where the parent's rows that a relation keeps are found."""
        parent, key = relation.parent, (relation, "chosen")
        if isinstance(relation, ops.Filter):
            conditions = [self.column(predicate) for predicate in relation.predicates]
            return self._step(key, holding, self.rows(parent), *conditions)
        if isinstance(relation, ops.Sort):
            groups, sorts = self._groups(parent, ()), sorts_of(relation.keys)
            return self._step(key, sorts.rows, groups, *map(self.column, sorts.columns))
        if isinstance(relation, ops.Aggregate):
            groups = self._groups(parent, tuple(relation.groups.values()))
        else:
            assert isinstance(relation, ops.Distinct), relation
            groups = self._groups(parent, tuple(ops.Field(parent, name) for name in parent.schema))
        return self._step(key, lambda found: found.first, groups)

    def _groups(self, relation: Any, keys: tuple[Any, ...]) -> int:
        return self._step(("groups", relation, keys), group, self.rows(relation), *map(self.column, keys))

    def _reduction(self, node: Any, relation: Any, groups: int) -> int:
        columns = [] if isinstance(node, ops.CountStar) else [self.column(arg) for arg in operands(node)]
        if node.where is not None:
            columns.append(self.column(node.where))
        return self._step((node, groups), reducing(node), self.rows(relation), groups, *columns)

    def _window(self, node: Any) -> int:
        relation = node.group_by[0].rel
        groups = self._groups(relation, node.group_by)
        if isinstance(node.func, ops.Reduction):
            assert not node.order_by
            totals = self._reduction(node.func, relation, groups)
            return self._step(node, lambda column, found: column.take(found.number), totals, groups)
        sorts = sorts_of(node.order_by)
        keys = [self.column(column) for column in sorts.columns]
        if isinstance(node.func, ops.RowNumber):
            return self._step(node, sorts.places, groups, *keys)
        assert isinstance(node.func, ops.Lag)
        assert node.func.offset is None
        return self._step(node, sorts.before, groups, self.column(node.func.arg), *keys)

    def _joined(self, place: tuple[ops.JoinChain, int, bool]) -> int:
        """Return where the rows that a join is made of are found."""
        chain, links, whole = place
        first: Any = chain.first
        if not links:
            return self._step((chain, 0), joins.alone, self.rows(first.parent))
        link: Any = chain.rest[links - 1]
        equal, further = sides(link)
        before, pairs = (chain, links - 1, True), (chain, links, False)
        assert not further or link.how == "inner"
        if whole and further:
            conditions = [self.column(condition, pairs) for condition in further]
            return self._step(
                place, lambda places, *of: joins.kept(places, all_hold(of)), self._joined(pairs), *conditions
            )
        keys = [self.column(left, before) for left, _ in equal] + [
            self.column(ops.Field(link.table.parent, right.name)) for _, right in equal
        ]
        keeps_left = {"left": True, "inner": False}[link.how]
        return self._step(
            pairs,
            lambda places, rows, *of: joins.joined(places, rows, *of, keeps_left=keeps_left),
            self._joined(before),
            self.rows(link.table.parent),
            *keys,
        )


def _after_all(chain: Any) -> tuple[ops.JoinChain, int, bool]:
    return chain, len(chain.rest), True
