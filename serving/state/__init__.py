"""Users' histories behind one protocol; embedded default SQLite."""
