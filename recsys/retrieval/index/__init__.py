"""Nearest item vectors of a user vector, exact or approximate, behind one contract."""
