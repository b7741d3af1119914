"""Reads the forms of data that users have."""
