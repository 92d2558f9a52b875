"""A gold table that is computed over others: the section `model` of a contract. Part of contract.py."""

from typing import Self

from pydantic import Field, model_validator

from daemon.catalog.contract_values import Rules, Sql, Text, TransformName
from daemon.catalog.sql_tables import TableReference, reference, tables_in


class ModelRules(Rules):
    """A gold table computed over whole silver and gold tables, made anew after they change."""

    sql: Sql | None = Field(
        default=None, description="a SELECT over `gold.<domain>.<table>` and `silver.<domain>.<table>`"
    )
    function: TransformName | None = Field(
        default=None, description="`module:function` that takes the inputs' LazyFrames and returns the table"
    )
    inputs: tuple[Text, ...] = Field(
        default=(), description="with `function`: the tables it takes, e.g. gold.noc.dim_noc"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.sql is None) == (self.function is None):
            raise ValueError("a model has either 'sql' or 'function'")
        if (self.function is None) != (not self.inputs):
            raise ValueError("'function' and 'inputs' go together; the inputs of 'sql' are read from the SQL")
        return self

    @model_validator(mode="after")
    def _reads_refined_tables(self) -> Self:
        for name in self.inputs:
            if reference(name.split(".")) is None:
                raise ValueError(f"'{name}' must be a table such as gold.main.sales or silver.main.sales")
        for table in self.reads:
            if table.layer not in {"silver", "gold"}:
                raise ValueError(f"a model reads silver and gold tables only, not '{table}'")
        if not self.reads:
            raise ValueError(
                "the SQL reads no table: name them gold.<domain>.<table> or silver.<domain>.<table>"
            )
        return self

    @property
    def reads(self) -> tuple[TableReference, ...]:
        """The tables it is computed from, in the order of `inputs` or of their first mention in the SQL."""
        if self.sql is not None:
            return tables_in(self.sql)
        found = (reference(name.split(".")) for name in self.inputs)
        return tuple(table for table in found if table is not None)
