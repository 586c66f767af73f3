"""A Django app with two tables, for the peers that keep queries of the ORM fresh."""
