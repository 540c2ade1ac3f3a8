"""Logs larger than memory: read a part at a time, kept on disk as arrays by user."""
