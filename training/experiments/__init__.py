"""The towers with one option changed at a time, beside the towers as they are configured."""
