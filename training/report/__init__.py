"""`report.html`: what a run came to, in one file that needs no other."""
