"""The command line: one file a command."""

from worldkv.cli.app import main as main
