"""Every public object against every form of input, one file a kind.

The objects are found by being public, so a new class is tested by existing.
"""
