"""What a column of a table becomes: one record for each kind of column."""

from __future__ import annotations

from mlpx.tables.columns.base import Column, Encoded
from mlpx.tables.columns.boolean import Boolean
from mlpx.tables.columns.category import Category
from mlpx.tables.columns.date import Date
from mlpx.tables.columns.number import Number

__all__ = ["Boolean", "Category", "Column", "Date", "Encoded", "Number"]
