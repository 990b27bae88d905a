"""Looks around inside a package, for the tests."""
