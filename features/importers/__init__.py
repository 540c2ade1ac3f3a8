"""Public data sets to dataset folders. Each importer reads a folder and writes another."""
