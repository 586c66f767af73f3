"""Where entries are kept: memory and SQLite, each carrying out one request as one atomic step."""
