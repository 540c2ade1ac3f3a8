"""Raw tables and media in, model inputs out: the one place where raw records become arrays."""
