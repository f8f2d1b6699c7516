"""The command line `colorize`."""
