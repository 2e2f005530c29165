"""Weights in and out, in the formats of other libraries."""
