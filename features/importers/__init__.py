"""Public data sets to dataset folders: `movielens`. Each importer reads a folder and writes another."""
