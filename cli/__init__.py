"""The command line: click only, no logic. Installed as the import package `netpod_cli`.

Each command imports what it needs when it runs, so that `netpod get pods` answers at once.
"""
