"""Pictures as data: tidy frames become figures and tables, drawn by nobody yet."""

from lashley.report.charts import audits
from lashley.report.charts.builders import DAMAGE, RESTORATION, bars, curves, heat, ranks, scatter
from lashley.report.charts.rows import table as table_of

__all__ = ["DAMAGE", "RESTORATION", "audits", "bars", "curves", "heat", "ranks", "scatter", "table_of"]
