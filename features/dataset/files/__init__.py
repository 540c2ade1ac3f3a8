"""Files of tables to raw rows, and what is wrong with a file that cannot be read."""
