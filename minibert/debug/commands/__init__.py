"""The commands of the debugging tools; each imports its tool when it runs."""
