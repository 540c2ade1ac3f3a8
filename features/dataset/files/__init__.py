"""Files of tables to raw rows, and the diagnosis of files that cannot be read."""
