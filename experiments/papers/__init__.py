"""The papers' tables as lists of `Config`; one module for each paper."""
