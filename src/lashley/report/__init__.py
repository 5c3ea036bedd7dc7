"""The report room: one typed page becomes html, terminal and json. No torch, no network."""

from lashley.report.files import Paths, write
from lashley.report.page import Page, from_json, to_json

__all__ = ["Page", "Paths", "from_json", "to_json", "write"]
