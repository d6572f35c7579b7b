"""`python -m abn` is the command `abn`."""

from abn.cli.main import main

main()
