"""Timed scenarios; run by `make bench`."""
