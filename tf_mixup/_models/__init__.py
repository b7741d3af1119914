"""Reads Keras models: how they predict, and what their outputs are."""
