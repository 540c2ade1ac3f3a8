"""The bundle: what serving needs, in one directory that is whole and unaltered or refused."""
