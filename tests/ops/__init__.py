"""Tests of the calculus: every operation's forward and backward."""
