# The public names of the report; worldkv/report/__init__.py reads this list and imports each on first use.
from worldkv.report.catalog import Parameter as Parameter
from worldkv.report.catalog import claim_of as claim_of
from worldkv.report.catalog import needs_by_default as needs_by_default
from worldkv.report.catalog import parameters_of as parameters_of
from worldkv.report.catalog import parts_by_kind as parts_by_kind
from worldkv.report.catalog import source_of as source_of
from worldkv.report.printer import HtmlPrinter as HtmlPrinter
from worldkv.report.printer import Printer as Printer
from worldkv.report.printer import TextPrinter as TextPrinter
